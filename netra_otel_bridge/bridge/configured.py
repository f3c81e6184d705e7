"""One configuration: what a command needs that neither reads Netra nor sends spans."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from netra_otel_bridge.config.load import load, state_home
from netra_otel_bridge.config.settings import Settings
from netra_otel_bridge.core.clock import Clock, SystemClock


class Configured:
    """The settings, the clock, and the place of the state.

    It loads no client of Netra and of no destination, which are slow to import.
    """

    given_as: Literal["flag", "argument"] = "argument"
    """The word that messages use for a setting that was given by name."""

    def __init__(
        self,
        *,
        config_file: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        self.environ = os.environ if environ is None else environ
        self.clock = clock or SystemClock()
        self._given = settings
        self._config_file = config_file
        self.settings = self._load()

    def api_key(self) -> str | None:
        """Read the environment and the files again, and return the API key: it may have changed."""
        key = self._load().api_key
        return key.reveal() if key is not None else None

    def _load(self) -> Settings:
        return load(self._given, self.environ, self._config_file, self.given_as)

    def state_directory(self) -> Path:
        """Return the setting ``state``, else the state directory of the user or the service."""
        given = self.settings.state
        return Path(given).expanduser() if given is not None else state_home(self.environ)
