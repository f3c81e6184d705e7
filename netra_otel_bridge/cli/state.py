"""``state``: reset delivery state, start over, and read dead letters."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any

import typer

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.output import out
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.outside_text import escaped, escaped_json
from netra_otel_bridge.core.time_text import iso_ms, parse_time_ns
from netra_otel_bridge.deliver import identity
from netra_otel_bridge.state import StoredLetter, discard, remove_letters
from netra_otel_bridge.state import dead_letters as stored_letters
from netra_otel_bridge.state import reset as reset_state


def reset(
    to: Annotated[str | None, typer.Option("--to", metavar="DEST", help="The destination, named as in status.")] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="T", help="Only traces that start at or after this time (default: all)."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Set the whole state aside, even if it is damaged, and start over.")
    ] = False,
    state: options.State = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Reset a destination, so that its traces are sent again."""
    if everything == (to is not None) or (everything and from_ is not None):
        raise UsageError("no destination is given", hint="pass --to DEST, optionally with --from T, or --all alone")
    bridge = options.start(config_file, verbose, quiet, state=state)
    directory = bridge.state_directory()
    if everything:
        aside = discard(directory, bridge.clock)
        document = {"state": str(directory.absolute()), "put_aside": str(aside), "exit_code": 0}
        said = f"{directory}: moved to {aside}; the next run starts over"
    else:
        from_ns = None if from_ is None else parse_time_ns(from_, bridge.clock.now_ns())
        report = reset_state(directory, identity(to or ""), from_ns, bridge.clock)
        document = {"state": str(directory.absolute()), "destination": to, "traces": report.traces,
                    "watermark": iso_ms(report.watermark_ns) if report.watermark_ns else None, "exit_code": 0}  # fmt: skip
        start = "the beginning" if from_ns is None else iso_ms(from_ns)
        said = f"{to}: reset {report.traces:,} traces from {start} on; they are sent again when Netra next lists them"
    if as_json:
        write_json(document)
    else:
        out.print(said, soft_wrap=True, markup=False)
    return 0


def dead_letters(
    to: Annotated[str | None, typer.Option("--to", metavar="DEST", help="Only those of this destination.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Remove them after printing them.")] = False,
    state: options.State = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Print the dead letters, one per line.

    Each is OTLP JSON (TracesData), as the Collector's otlpjsonfile receiver reads it. The reason for each goes to stderr.
    To send them again, use replay --dead-letters.
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
    """Write documents to stdout and reasons to stderr. Return the last id, or 0."""
    last_id = 0
    for stored in letters:
        letter = stored.letter
        what = f"span {letter.span_id} of trace {letter.trace_id}" if letter.is_span else "an item that is not a span"
        said = f"{iso_ms(stored.recorded_ns)} {stored.destination}: {what}: {letter.reason}"
        sys.stderr.write(f"{escaped(said)}\n")
        sys.stdout.write(f"{escaped_json(letter.document)}\n")
        last_id = stored.id
    return last_id


def _letter_json(stored: StoredLetter) -> dict[str, Any]:
    return {
        "destination": stored.destination,
        "recorded": iso_ms(stored.recorded_ns),
        **asdict(stored.letter),
    }
