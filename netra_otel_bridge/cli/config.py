"""``config show``: print the effective configuration."""

from __future__ import annotations

import re
from typing import Any

from rich import box
from rich.table import Table

from netra_otel_bridge.cli import options, policy
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.output import cell, out
from netra_otel_bridge.config.declare import Setting
from netra_otel_bridge.config.parsers import Secret
from netra_otel_bridge.config.settings import SETTINGS, Settings
from netra_otel_bridge.core.time_text import duration_text

_CREDENTIALS = re.compile(r"//[^/?#]*@")
"""A user and password in a URL: rejected wherever the URL is used, and never shown."""


def show(
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Show each setting and where its value comes from.

    Secrets are masked.
    """
    settings = options.configure(config_file, verbose, quiet).settings
    rows = [(one, _value(settings, one), settings.origins[one.name]) for one in SETTINGS]
    if as_json:
        document = {one.key: {"value": value, "from": origin} for one, value, origin in rows}
        if settings.content == "drop" or settings.pii == "drop-content":
            document["content"]["keeps"] = policy.kept_namespaces()
        write_json(document)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("setting", "value", "from", "variable"):
        table.add_column(column, overflow="fold", no_wrap=column in ("setting", "variable"))
    for one, value, origin in rows:
        shown = ", ".join(map(str, value)) if isinstance(value, list) else "" if value in (None, {}) else str(value)
        table.add_row(one.key, cell(shown), cell(origin), cell(one.variable, "dim"))
    out.print(table)
    for line in policy.lines(settings):
        out.print(cell(line), soft_wrap=True)


def _value(settings: Settings, one: Setting) -> Any:
    value = getattr(settings, one.name)
    return duration_text(value) if one.is_duration else plain(value)


def plain(value: Any) -> Any:
    """Return a setting as plain JSON values: secrets as ``***``, patterns as their text."""
    if isinstance(value, Secret):
        return repr(value)
    if isinstance(value, str):
        return _CREDENTIALS.sub("//***@", value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return getattr(value, "pattern", value)
