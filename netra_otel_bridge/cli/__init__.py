"""The command line: thin commands over the library. `main` is the only place that turns an error into an exit code."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

import typer

from netra_otel_bridge.cli.app import app
from netra_otel_bridge.cli.errors import Interrupted, wants_json, write_error
from netra_otel_bridge.cli.redactor import redactor
from netra_otel_bridge.core.errors import BridgeError, UsageError
from netra_otel_bridge.core.outside_text import error_words, escaped

_WRONG_USAGE: type[Exception] = typer.BadParameter.__bases__[0]
"""The base of typer's errors about flags; typer exports only this subclass of it."""
_TYPER_INTERRUPTED = 130
"""The code that newer typer versions return after a ``KeyboardInterrupt``; older versions raise ``Abort``."""

_DEFECT_CHARS = 300
_SERVICES = frozenset({"run", "emulator"})
"""Commands that a stop ends with exit code 0."""
_RESUMES = "acknowledged spans are recorded; run the same command again to resume"
_READS = {"verify": "nothing was written; run it again"}
"""Words on an interrupted command that sends nothing."""
_M_ARENA_MAX = -8
"""``M_ARENA_MAX`` of ``malloc.h``."""


def _interrupt(*_: object) -> None:
    """Let SIGTERM end a command as SIGINT does, even in a shell's background job, where SIGINT is ignored.

    While asynchronous work runs, `netra_otel_bridge.cli.signals` handles SIGTERM itself.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)


def tune_process() -> None:
    """Run the garbage collector less often, and let all threads share one memory arena.

    Spans hold no cycles, and searching for them took a tenth of a replay. With an arena for each thread that converts a
    large span, glibc kept up to 40 MB that nothing used. Call it only in the bridge's own process: a program that imports
    the library makes these choices itself.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    with suppress(AttributeError, OSError):  # only glibc has it
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def main() -> None:
    """Run the command in ``sys.argv`` and exit with the code that ``docs/cli.md`` lists for how it ended."""
    tune_process()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = _run()
        sys.stdout.flush()
    except BridgeError as error:
        code = write_error(error, as_json=wants_json(sys.argv))
    except _WRONG_USAGE as error:
        code = _write_wrong_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        # CPython ends by SIGINT if the interrupt came while source was evaluated, as when a dataclass is imported.
        eval("0")  # noqa: S307  evaluating anything resets its mark
        code = 0
        if not _runs_until_stopped(sys.argv):
            hint = _READS.get(_command(sys.argv), _RESUMES)
            code = write_error(Interrupted("interrupted", hint=hint), as_json=wants_json(sys.argv))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:  # noqa: BLE001  the command line reports every error
        if {"-v", "--verbose"} & set(sys.argv):
            for line in traceback.format_exc().splitlines():
                sys.stderr.write(f"{escaped(redactor(line))}\n")
        defect = BridgeError(
            f"unexpected {redactor.line(error_words(error), _DEFECT_CHARS)}",
            hint="this is a bug in netra-otel-bridge; run again with -v and report the output",
        )
        code = write_error(defect, as_json=wants_json(sys.argv))
    sys.exit(code)


def _runs_until_stopped(argv: Sequence[str]) -> bool:
    """Return whether a stop is the ordinary end of this command: here, it came before the command had begun."""
    return _command(argv) in _SERVICES


def _command(argv: Sequence[str]) -> str:
    return next((word for word in argv[1:] if not word.startswith("-")), "")


def _run() -> int | None:
    code: int | None = app(standalone_mode=False, prog_name="netra-otel-bridge")
    if code == _TYPER_INTERRUPTED:
        raise KeyboardInterrupt
    return code


def _write_wrong_usage(error: Exception) -> int:
    """Report wrong flags in one line. A group without a command prints its help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error}\n")
        return UsageError.exit_code
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "netra-otel-bridge"
    message = getattr(error, "format_message", error.__str__)()
    return write_error(UsageError(message, hint=f"see {command} --help"), as_json=wants_json(sys.argv))
