"""``state``: move a checkpoint on purpose, start anew, and see what was given up."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.output import out, write_json
from netra_otel_bridge.clock import iso_ms, parse_time_ns
from netra_otel_bridge.deliver import identity
from netra_otel_bridge.errors import UsageError
from netra_otel_bridge.state import dead_letters as stored_letters
from netra_otel_bridge.state import discard
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
        document = {"state": str(directory), "put_aside": str(aside), "exit_code": 0}
        said = f"{directory}: put aside in {aside}; the next run starts anew"
    else:
        from_ns = None if from_ is None else parse_time_ns(from_, bridge.clock.now_ns())
        report = reset_state(directory, identity(to or ""), from_ns, bridge.clock)
        document = {"state": str(directory), "destination": to, "traces": report.traces,
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
    state: options.State = None,
    config_file: options.ConfigFile = None,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Print what was given up, one a line: OTLP JSON (TracesData), the form that the Collector's otlpjsonfile receiver reads.

    Why each was given up goes to stderr. ``replay --dead-letters`` sends them again.
    """
    bridge = options.start(config_file, verbose, quiet, state=state)
    for stored in stored_letters(bridge.state_directory(), identity(to) if to else None):
        letter = stored.letter
        what = f"span {letter.span_id} of trace {letter.trace_id}" if letter.is_span else "an item that is no span"
        sys.stderr.write(f"{iso_ms(stored.recorded_ns)} {stored.destination}: {what}: {letter.reason}\n")
        sys.stdout.write(letter.document + "\n")
    return 0
