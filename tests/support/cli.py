"""Run the commands as a user does, in a child process, or in this process for tests that need many runs."""

from __future__ import annotations

import functools
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer.main

from netra_otel_bridge.cli import main
from tests.support.waiting import DEADLINE_S

ROOT = Path(__file__).parents[2]
CANARY = "nk-canary-7e21"
"""The API key of every run; no output may hold it."""
typer.main.get_command = functools.cache(typer.main.get_command)
"""Each app's command is built once for all runs in this process, because building it often takes longer than the run."""
_STATE_HOME = tempfile.TemporaryDirectory(prefix="netra-state-")


@dataclass(frozen=True, slots=True)
class Result:
    """The exit code of a command, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def said(self) -> str:
        """The last line on stderr, which says what went wrong."""
        return self.err.strip().splitlines()[-1]


def environment(endpoint: str | None = None, **more: str) -> dict[str, str]:
    """Return the variables of a run: nothing from this machine's settings or state, two tries, and the canary as the key."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("NETRA", "OTEL"))}
    clean["XDG_STATE_HOME"] = _STATE_HOME.name
    netra = {"NETRA_API_KEY": CANARY, "NETRA_OTLP_ENDPOINT": endpoint} if endpoint else {}
    return {**clean, "NETRA_BRIDGE_ATTEMPTS": "2", "PYTHONPATH": str(ROOT), **netra, **more}


def run(*arguments: str, env: Mapping[str, str] | None = None) -> Result:
    """Run a command in this process, capture its output, and check it for what no output may contain."""
    out, err = io.StringIO(), io.StringIO()
    before = signal.getsignal(signal.SIGTERM)
    code: Any = None
    with (
        patch.dict(os.environ, env if env is not None else environment(), clear=True),
        patch.object(sys, "argv", ["netra-otel-bridge", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
        finally:
            signal.signal(signal.SIGTERM, before)
    return checked(Result(code or 0, out.getvalue(), err.getvalue()))


def start(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "netra_otel_bridge", *arguments],
        env=env if env is not None else environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> Result:
    """Wait until a process ends. After the time limit, kill it and fail the test."""
    try:
        out, err = process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return checked(Result(process.returncode, out, err))


def checked(result: Result) -> Result:
    """Check what every run must meet: no output contains the key, a traceback or a defect. Return the result."""
    for text in (result.out, result.err):
        assert CANARY not in text
        assert "Traceback" not in text, text
        assert "this is a bug in netra-otel-bridge" not in text, text
    return result


def spans_in(path: Path) -> list[str]:
    """Return the ids of all spans in an OTLP JSON file, in order; an empty list if there is no file."""
    documents = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [
        span["spanId"]
        for document in documents
        for resource_spans in document["resourceSpans"]
        for scope_spans in resource_spans["scopeSpans"]
        for span in scope_spans["spans"]
    ]
