"""Report a failed command on stderr and, with ``--json``, on stdout."""

from __future__ import annotations

import sys

from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.redactor import redactor
from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.outside_text import escaped


class Interrupted(BridgeError):
    """Ends a command after a signal."""

    exit_code = 75


def write_error(error: BridgeError, *, as_json: bool) -> int:
    """Write one line to stderr and return the exit code.

    With ``--json``, also write a document to stdout, unless the error has a report: the command has printed that one.
    """
    code = error.exit_code
    said = redactor(str(error))
    if error.report is not None:
        code = error.report.exit_code
    elif as_json:
        write_json({"error": {"type": type(error).__name__, "message": said}, "exit_code": code})
    sys.stderr.write(f"netra-otel-bridge: {escaped(said)}\n")
    return code


def wants_json(argv: list[str]) -> bool:
    return "--json" in argv
