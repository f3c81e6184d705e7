"""``emulator``: run a local Netra."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.time_text import parse_duration_ns
from netra_otel_bridge.emulator import FAULTS, Emulator, EmulatorOptions, serve


def _fault_line(name: str, doc: str) -> str:
    """Return ``NAME=ARG  what it does``, from a ``doc`` that begins with ``=ARG: `` if the fault takes an argument."""
    argument, _, does = doc.rpartition(": ") if doc.startswith("=") else ("", "", doc)
    return f"  {name + argument:<24} {does}"


FAULT_LINES = "\b\nFaults:\n" + "\n".join(_fault_line(name, entry.doc) for name, entry in FAULTS.items())
"""The faults, shown after the options; ``\b`` keeps the lines as they are."""


def emulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 9900,
    load: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="OTLP JSON to serve: one document, or one per line (repeatable)."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Serve sample traffic; the same N gives the same traffic.")
    ] = None,
    traces: Annotated[int | None, typer.Option(metavar="N", min=0, help="Number of sample traces.")] = None,
    spans_per_trace: Annotated[int, typer.Option(metavar="N", min=1, help="Number of spans in each.")] = 10,
    latency: Annotated[str | None, typer.Option(metavar="50ms", help="Delay before each response.")] = None,
    rate_limit: Annotated[
        str | None, typer.Option(metavar="N/s", help="Respond with 429 above this rate of calls.")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=ARG]", help="Inject one of the faults below (repeatable).")
    ] = None,
    api_key: Annotated[str | None, typer.Option(metavar="KEY", help="Require this x-api-key (default: none).")] = None,
    windowing: Annotated[
        str,
        typer.Option(metavar="traces|spans", help="List a trace by its start, or by the start of any of its spans."),
    ] = "traces",
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Run a local Netra to test against.

    It accepts OTLP at /telemetry/v1/traces and serves the Netra API on the same port.
    """
    options.configure(config_file, verbose, quiet)
    if windowing not in ("traces", "spans"):
        raise UsageError(f"--windowing must be traces or spans, not {windowing!r}")
    serve(
        EmulatorOptions(
            host=host,
            port=port,
            load=tuple(load or ()),
            seed=seed,
            traces=traces,
            spans_per_trace=spans_per_trace,
            latency_s=parse_duration_ns(latency) / NS_PER_S if latency else 0.0,
            rate_limit=_rate(rate_limit) if rate_limit else None,
            faults=tuple(fault or ()),
            api_key=api_key,
            windowing=windowing,  # type: ignore[arg-type]  # checked above
        ),
        announce=_announce_json if as_json else None,
    )


def _announce_json(running: Emulator) -> None:
    write_json({"url": running.url, "endpoint": running.endpoint})


def _rate(text: str) -> float:
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < math.inf:
        raise UsageError(f"--rate-limit {text!r} is not a rate", hint="write 100/s")
    return rate
