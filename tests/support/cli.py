"""The commands, run as a user runs them: in a child process, or in this one where a test needs many."""

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
"""The commands of an app are made once for all runs in this process: making them takes longer than many a run."""
_STATE_HOME = tempfile.TemporaryDirectory(prefix="netra-state-")


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def said(self) -> str:
        """The last line on stderr: what went wrong."""
        return self.err.strip().splitlines()[-1]


def environment(endpoint: str | None = None, **more: str) -> dict[str, str]:
    """The variables of a run: none of the machine's own settings or state, two tries, the canary for a key."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("NETRA", "OTEL"))}
    clean["XDG_STATE_HOME"] = _STATE_HOME.name
    netra = {"NETRA_API_KEY": CANARY, "NETRA_OTLP_ENDPOINT": endpoint} if endpoint else {}
    return {**clean, "NETRA_BRIDGE_ATTEMPTS": "2", "PYTHONPATH": str(ROOT), **netra, **more}


def run(*arguments: str, env: Mapping[str, str] | None = None) -> Result:
    """Run a command in this process, with its outputs caught and checked for what no output may hold."""
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
    """Wait for a process; one that does not end is killed, and the test fails."""
    try:
        out, err = process.communicate(timeout=DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return checked(Result(process.returncode, out, err))


def checked(result: Result) -> Result:
    """What holds of every run: the key is nowhere, and no traceback and no defect is shown."""
    for text in (result.out, result.err):
        assert CANARY not in text
        assert "Traceback" not in text, text
        assert "this is a bug in netra-otel-bridge" not in text, text
    return result


def spans_in(path: Path) -> list[str]:
    """The ids of all spans in an OTLP JSON file, in order; none if there is no file."""
    documents = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [
        span["spanId"]
        for document in documents
        for resource_spans in document["resourceSpans"]
        for scope_spans in resource_spans["scopeSpans"]
        for span in scope_spans["spans"]
    ]
