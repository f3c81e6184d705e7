"""``state``: reset delivery state, start over, and handle held-back traces and dead letters."""

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
from netra_otel_bridge.deliver.names import identity
from netra_otel_bridge.state import (
    StoredLetter,
    StoredTrace,
    discard,
    give_up_held,
    held_traces,
    remove_letters,
    retry_held,
)
from netra_otel_bridge.state import dead_letters as stored_letters
from netra_otel_bridge.state import reset as reset_state


def reset(
    to: Annotated[str | None, typer.Option("--to", metavar="DEST", help="The destination, named as in status.")] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="T", help="Only traces that start at or after this time (default: all)."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Move the whole state aside, even if it is damaged, and start over.")
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
    configured = options.configure(config_file, verbose, quiet, state=state)
    directory = configured.state_directory()
    if everything:
        aside = discard(directory, configured.clock)
        document = {"state": str(directory.absolute()), "put_aside": str(aside), "exit_code": 0}
        said = f"{directory}: moved to {aside}; the next run starts over"
    else:
        from_ns = None if from_ is None else parse_time_ns(from_, configured.clock.now_ns())
        report = reset_state(directory, identity(to or ""), from_ns, configured.clock)
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
    configured = options.configure(config_file, verbose, quiet, state=state)
    destination = identity(to) if to else None
    letters = stored_letters(configured.state_directory(), destination)
    if as_json:
        kept = list(letters)
        write_json({"dead_letters": [_letter_json(one) for one in kept], "exit_code": 0})
        last_id = kept[-1].id if kept else 0
    else:
        last_id = _print_letters(letters)
    if remove and last_id:
        sys.stdout.flush()
        removed = remove_letters(configured.state_directory(), destination, last_id, configured.clock)
        sys.stderr.write(f"removed {removed:,} dead letters\n")
    return 0


def held_back(
    trace: Annotated[
        list[str] | None, typer.Argument(metavar="TRACE", help="Ids of the traces; without any, all of them.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="DEST", help="Only those of this destination.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try them again when the bridge runs next.")] = False,
    give_up: Annotated[bool, typer.Option("--give-up", help="Never try them again.")] = False,
    state: options.State = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """List, retry or give up on the traces that cannot be read.

    Netra lists such a trace but cannot show it. The bridge delivers everything else, and tries it again after growing
    pauses. --retry makes the next attempt due now; --give-up ends the attempts. Both need a state that no bridge is
    using.
    """
    if retry and give_up:
        raise UsageError("--retry and --give-up contradict each other", hint="pass one of them")
    configured = options.configure(config_file, verbose, quiet, state=state)
    directory, destination = configured.state_directory(), identity(to) if to else None
    if retry or give_up:
        change = give_up_held if give_up else retry_held
        changed = change(directory, destination, trace or (), configured.clock)
        if missing := sorted({*(trace or ())} - {*changed}):
            raise UsageError(
                f"not held back: {', '.join(missing)}", hint="netra-otel-bridge state held-back lists the traces"
            )
    found = [one for one in held_traces(directory, destination) if not trace or one.held.summary.id in trace]
    if as_json:
        write_json({"held_back": [_held_json(one) for one in found], "exit_code": 0})
    elif not found:
        out.print("No trace is held back.")
    else:
        for one in found:
            out.print(_held_line(one), soft_wrap=True, markup=False)
    return 0


def _held_line(stored: StoredTrace) -> str:
    held = stored.held
    attempts = "1 attempt" if held.attempts == 1 else f"{held.attempts:,} attempts"
    due = "given up" if held.given_up else f"next after {iso_ms(held.next_ns)}" if held.next_ns else "due now"
    start = f" of {iso_ms(held.start_ns)}" if held.start_ns else ""
    return f"{stored.destination}: trace {held.summary.id}{start}: {attempts}, {due}: {held.reason}"


def _held_json(stored: StoredTrace) -> dict[str, Any]:
    held = stored.held
    return {
        "destination": stored.destination,
        "trace_id": held.summary.id,
        "start": iso_ms(held.start_ns) if held.start_ns else None,
        "tenant_id": held.summary.tenant_id,
        "reason": held.reason,
        "attempts": held.attempts,
        "first": iso_ms(held.first_ns),
        "next": None if held.given_up else iso_ms(held.next_ns),
        "given_up": held.given_up,
    }


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
