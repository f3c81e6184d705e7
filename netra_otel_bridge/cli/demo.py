"""``demo``: start a local Netra, replay its traffic, and show a trace and the usage of a tenant."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.output import out
from netra_otel_bridge.cli.replay import refuse_console, write_report
from netra_otel_bridge.cli.reports import report_json
from netra_otel_bridge.cli.signals import run
from netra_otel_bridge.cli.trace_tree import TraceTree
from netra_otel_bridge.cli.traces import most_interesting
from netra_otel_bridge.cli.usage import write_usage
from netra_otel_bridge.convert import read_spans
from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.netra import TenantUsageData, TraceSpan, TraceSummary
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.model.report import ReplayReport
from netra_otel_bridge.core.time_text import iso_ms
from netra_otel_bridge.emulator import Emulator, EmulatorOptions

if TYPE_CHECKING:
    from netra_otel_bridge.bridge.bridge import Bridge

TRACES = 200
SPANS_PER_TRACE = 12
KEY = "demo-key"


def demo(
    to: Annotated[
        list[str] | None,
        typer.Option(metavar="DEST", help="Destination of the replay (default: a temporary file)."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the sample traffic.")] = 1,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> int:
    """Try a replay on this machine, without an account.

    It starts a local Netra with sample traffic, replays it, and shows a trace and the usage of a tenant.
    """
    targets = to or [f"otlp-file:{Path(tempfile.mkdtemp(prefix='netra-demo-')) / 'traces.jsonl'}"]
    return run(_demo(targets, seed, config_file, as_json, verbose, quiet))


async def _demo(
    targets: list[str], seed: int, config_file: Path | None, as_json: bool, verbose: bool, quiet: bool
) -> int:
    traffic = EmulatorOptions(port=0, seed=seed, traces=TRACES, spans_per_trace=SPANS_PER_TRACE, api_key=KEY)
    async with Emulator(traffic) as netra:
        bridge = options.start(config_file, verbose, quiet, api_key=KEY, endpoint=netra.endpoint)
        if as_json:
            refuse_console(bridge, targets)
        window = bridge.window(since="25h")
        if not as_json:
            _say(f"1. A local Netra with {TRACES} traces of sample traffic listens at {netra.url}.")
            _say(f"2. replay --since 25h {' '.join(f'--to {one}' for one in targets)}")
        try:
            report = await bridge.areplay(targets, since="25h")
        except BridgeError as error:
            if isinstance(error.report, ReplayReport):
                write_report(error.report, as_json=as_json)
            raise
        trace, spans, usage = await _look(bridge, window)
    if as_json:
        write_json({**report_json(report), "trace_id": trace.id, "tenant": usage})
        return report.exit_code
    write_report(report, as_json=False)
    _say(f"3. traces show {trace.id}")
    out.print(TraceTree(trace.id, read_spans(spans, bridge.converter("raw"))))
    out.print()
    _say(f"4. usage tenant {usage.tenant_id} --since 25h")
    write_usage(f"tenant {usage.tenant_id}", usage, window)
    _where_to_look(targets, report)
    return report.exit_code


async def _look(bridge: Bridge, window: Window) -> tuple[TraceSummary, list[TraceSpan], TenantUsageData]:
    """Return a trace to draw, its spans, and the usage of its tenant."""
    start, end = iso_ms(window.start_ns), iso_ms(window.end_ns)
    async with bridge.async_client() as client:
        page = await client.list_traces(start, end, limit=20)
        trace = most_interesting(page.traces)
        if trace is None or trace.tenant_id is None:
            raise RuntimeError("the sample traffic has no trace with a tenant")
        spans = [span async for span in client.iter_spans_by_trace_id(trace.id, limit=100)]
        usage = await client.get_tenant_usage(trace.tenant_id, start, end)
        if usage is None:
            raise RuntimeError("the sample traffic has no usage of its tenant")
        return trace, spans, usage


def _where_to_look(targets: list[str], report: ReplayReport) -> None:
    delivered = report.destinations[0].delivered
    for target in targets:
        kind, _, path = target.partition(":")
        if kind == "otlp-file":
            _say(f"Where to look: {delivered:,} spans as OTLP JSON in {path}")
    _say("Try it yourself: in one terminal  netra-otel-bridge emulator --seed 1 --traces 1000")
    _say(
        "                 in another       export NETRA_API_KEY=any NETRA_OTLP_ENDPOINT=http://127.0.0.1:9900/telemetry"
    )
    _say("                                  netra-otel-bridge traces list --since 24h")
    _say("With Jaeger or Tempo running: netra-otel-bridge demo --to otlp+grpc://localhost:4317")


def _say(text: str) -> None:
    out.print(text, markup=False, soft_wrap=True)
