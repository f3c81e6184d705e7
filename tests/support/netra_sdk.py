"""The real netra-sdk, in a virtual environment of its own, as the peer that proves the emulator right.

It pins OpenTelemetry below what the bridge uses, so it never shares an environment with the bridge. The environment is
made once and kept under ``${XDG_CACHE_HOME:-~/.cache}/netra-otel-bridge/peers``. The last step creates an empty file,
which marks it complete.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

VERSION = "1.2.2"
SESSION, READER = (Path(__file__).with_name(f"netra_sdk_{name}.py") for name in ("session", "reader"))
_SETUP_S = 1200
_RUN_S = 120


def peer_home() -> Path:
    """Return the directory of the environment."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "netra-otel-bridge" / "peers" / f"netra-sdk-{VERSION}"


def netra_sdk_python() -> Path:
    """Return the interpreter that has netra-sdk. If it cannot be had, skip the test, or fail it where CI=true."""
    home = peer_home()
    python, whole = home / "bin" / "python", home / "complete"
    if whole.exists():
        return python
    home.parent.mkdir(parents=True, exist_ok=True)
    steps: list[list[str]] = [
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", f"netra-sdk=={VERSION}"],
    ]
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=_SETUP_S, check=False)
            failure = done.stderr.strip()[-600:] if done.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            failure = str(error)
        if failure:
            _unavailable(f"netra-sdk {VERSION} could not be installed under {home}: {failure}")
    whole.touch()
    return python


def _unavailable(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def run_session(python: Path, endpoint: str, api_key: str, script: Path = SESSION) -> dict[str, Any]:
    """Run a script of this directory with the SDK against ``endpoint``, and return what it read."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("NETRA_", "OTEL_", "PYTHON"))}
    done = subprocess.run(
        [str(python), str(script)],
        env={**inherited, "NETRA_OTLP_ENDPOINT": endpoint, "NETRA_API_KEY": api_key, "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=_RUN_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return {**result, "stderr": done.stderr}
