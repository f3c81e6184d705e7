"""``state``: move a checkpoint on purpose, start anew, and see what was given up."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.output import out, write_json
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.time_text import iso_ms, parse_time_ns
from netra_otel_bridge.deliver import identity
from netra_otel_bridge.state import StoredLetter, discard, remove_letters
from netra_otel_bridge.state import dead_letters as stored_letters
from netra_otel_bridge.state import reset as reset_state

app = typer.Typer(help="What is remembered: move a checkpoint on purpose, and see what was given up.")


@app.command("reset")
def reset(
    to: Annotated[
        str | None, typer.Option("--to", metavar="DEST", help="The destination, as status shows its name.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="T", help="Only what starts at or after this time; else everything.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Put the whole state aside, also one that is damaged, and start anew.")
    ] = False,
    state: options.State = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Forget what a destination has had, so that it is sent again."""
    if everything == (to is not None) or (everything and from_ is not None):
        raise UsageError("what is to be reset?", hint="give --to DEST and perhaps --from T, or --all alone")
    bridge = options.start(config_file, verbose, quiet, state=state)
    directory = bridge.state_directory()
    if everything:
        aside = discard(directory, bridge.clock)
        document = {"state": str(directory.absolute()), "put_aside": str(aside), "exit_code": 0}
        said = f"{directory}: put aside in {aside}; the next run starts anew"
    else:
        from_ns = None if from_ is None else parse_time_ns(from_, bridge.clock.now_ns())
        report = reset_state(directory, identity(to or ""), from_ns, bridge.clock)
        document = {"state": str(directory.absolute()), "destination": to, "traces": report.traces,
                    "watermark": iso_ms(report.watermark_ns) if report.watermark_ns else None, "exit_code": 0}  # fmt: skip
        start = "the beginning" if from_ns is None else iso_ms(from_ns)
        said = f"{to}: forgot {report.traces:,} traces from {start} on; they are sent again when they are listed again"
    if as_json:
        write_json(document)
    else:
        out.print(said, soft_wrap=True, markup=False)
    return 0


@app.command("dead-letters")
def dead_letters(
    to: Annotated[str | None, typer.Option("--to", metavar="DEST", help="Only those of this destination.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Forget them, once they are printed.")] = False,
    state: options.State = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Print what was given up, one a line: OTLP JSON (TracesData), the form that the Collector's otlpjsonfile receiver reads.

    Why each was given up goes to stderr. ``replay --dead-letters`` sends them again.
    """
    bridge = options.start(config_file, verbose, quiet, state=state)
    destination = identity(to) if to else None
    letters = stored_letters(bridge.state_directory(), destination)
    if as_json:
        kept = list(letters)
        write_json({"dead_letters": [_letter_json(one) for one in kept], "exit_code": 0})
        last_id = kept[-1].id if kept else 0
    else:
        last_id = _print_letters(letters)
    if remove and last_id:
        sys.stdout.flush()
        removed = remove_letters(bridge.state_directory(), destination, last_id, bridge.clock)
        sys.stderr.write(f"removed {removed:,} dead letters\n")
    return 0


def _print_letters(letters: Iterable[StoredLetter]) -> int:
    """Documents on stdout, reasons on stderr; returns the last id, or 0."""
    last_id = 0
    for stored in letters:
        letter = stored.letter
        what = f"span {letter.span_id} of trace {letter.trace_id}" if letter.is_span else "an item that is no span"
        sys.stderr.write(f"{iso_ms(stored.recorded_ns)} {stored.destination}: {what}: {letter.reason}\n")
        sys.stdout.write(letter.document + "\n")
        last_id = stored.id
    return last_id


def _letter_json(stored: StoredLetter) -> dict[str, Any]:
    return {
        "destination": stored.destination,
        "recorded": iso_ms(stored.recorded_ns),
        **asdict(stored.letter),
    }
