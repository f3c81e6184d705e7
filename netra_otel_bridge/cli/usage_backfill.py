"""``usage backfill``: export past usage with its original timestamps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netra_otel_bridge.cli import options
from netra_otel_bridge.cli.errors import Interrupted
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.numbers import count
from netra_otel_bridge.cli.output import err, out
from netra_otel_bridge.cli.signals import run
from netra_otel_bridge.config.parsers import parse_headers
from netra_otel_bridge.convert.semconv import TENANT_ID
from netra_otel_bridge.core.clock import NS_PER_MS, NS_PER_S, Backoff
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.outside_text import header_secrets
from netra_otel_bridge.core.time_text import duration_text, iso_ms, parse_duration_ns
from netra_otel_bridge.service.metric_exporters import metric_exporter
from netra_otel_bridge.service.telemetry import SERVICE_NAME
from netra_otel_bridge.usage.backfill import UsageBackfill, count_steps
from netra_otel_bridge.usage.backfill_output import file_for, send_readings, write_openmetrics
from netra_otel_bridge.usage.discovery import find_tenants
from netra_otel_bridge.usage.metric_sender import MetricSender
from netra_otel_bridge.usage.openmetrics import is_label, tenant_label

if TYPE_CHECKING:
    from netra_otel_bridge.bridge.bridge import Bridge

FORMS = "pass --to openmetrics:FILE, otlp, or exporter:NAME"


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed ``DEST`` for past usage: a ``file`` for OpenMetrics, or the name of a metric ``exporter``."""

    text: str
    file: str = ""
    exporter: str = ""


def backfill(
    since: options.Since = None,
    from_: options.From = None,
    until: options.Until = None,
    step: Annotated[str, typer.Option(metavar="1h", help="Time between samples.")] = "1h",
    tenant: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Only this tenant (repeatable; default: all tenants in traces)."),
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="DEST", help="openmetrics:FILE, otlp, or exporter:NAME.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A label for all samples (repeatable).")
    ] = None,
    config_file: options.ConfigFile = None,
    as_json: options.Json = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
) -> None:
    """Export past usage with its original timestamps.

    It writes a file for Prometheus, or sends to a metric exporter.
    """
    bridge = options.start(config_file, verbose, quiet)
    window = bridge.window(since=since, from_=from_, until=until)
    if window.end_ns > bridge.clock.now_ns() + NS_PER_S:
        raise UsageError(f"the range ends at {iso_ms(window.end_ns)}, which is in the future", hint="omit --until")
    step_ns = parse_duration_ns(step)
    if step_ns < NS_PER_S or step_ns % NS_PER_MS:
        raise UsageError(f"--step {step} must be at least a second, in whole milliseconds", hint="use 1h, 15m or 1d")
    count_steps(window, step_ns)
    target = parse_target(to)
    labels = parse_labels(label or (), of_file=bool(target.file))
    try:
        document = run(_backfill(bridge, window, step_ns, tenant or (), target, labels, quiet))
    except KeyboardInterrupt:
        raise Interrupted("interrupted", hint="run the same command again; it starts from the beginning") from None
    if as_json:
        write_json(document)
        return
    said = [f"{count(document['samples'])} samples, tenants: {count(len(document['tenants']))}, to {target.text}"]
    if target.file:
        said.append(f"  promtool tsdb create-blocks-from openmetrics {target.file} DIR")
    for line in said:
        out.print(line, markup=False, soft_wrap=True)


def parse_target(text: str | None) -> Target:
    """Parse the ``DEST`` of ``--to``. Raises `UsageError`."""
    kind, _, rest = (text or "").partition(":")
    if text == "otlp":
        return Target(text, exporter="otlp")
    if text and rest and kind == "openmetrics":
        return Target(text, file=rest)
    if text and rest and kind == "exporter":
        return Target(text, exporter=rest)
    raise UsageError(f"--to {text!r} does not accept past usage" if text else "no destination is set", hint=FORMS)


def parse_labels(texts: Sequence[str], *, of_file: bool) -> dict[str, str]:
    """Parse ``NAME=VALUE`` texts. In a file, names must be valid Prometheus labels. Raises `UsageError`."""
    labels: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name or not value:
            raise UsageError(f"--label {text!r} is not NAME=VALUE")
        if of_file and not is_label(name):
            raise UsageError(
                f"--label: {name!r} is not a valid label name",
                hint="use letters, digits and _, and do not start with __",
            )
        if name in (tenant_label(), TENANT_ID) or name in labels:
            raise UsageError(f"--label: {name!r} is already in use")
        labels[name] = value
    return labels


def _sender(bridge: Bridge, target: Target) -> MetricSender:
    environ = bridge.environ
    headers = (environ.get(name, "") for name in ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"))
    secrets: tuple[str, ...] = ()
    for text in headers:
        with suppress(ValueError):
            values = {name: secret.reveal() for name, secret in parse_headers(text).items()}
            secrets += header_secrets(values)
    return MetricSender(
        target.text,
        metric_exporter(target.exporter, environ, "--to"),
        backoff=Backoff(first_s=0.5, attempts=bridge.settings.attempts),
        clock=bridge.clock,
        secrets=secrets,
    )


async def _backfill(
    bridge: Bridge,
    window: Window,
    step_ns: int,
    named: Sequence[str],
    target: Target,
    labels: Mapping[str, str],
    quiet: bool,
) -> dict[str, Any]:
    """Write the samples and return the report, with the totals of each tenant."""
    started = bridge.clock.monotonic()
    path = file_for(Path(target.file)) if target.file else None
    sender = None if target.file else _sender(bridge, target)
    async with bridge.async_client() as client:
        tenants = list(dict.fromkeys(named)) or await find_tenants(client, window, bridge.settings.window_ns)
        usage = UsageBackfill(client, tenants, window, step_ns, bridge.settings.concurrency)
        if not quiet:
            err.print(
                f"tenants: {count(len(tenants))}, steps of {duration_text(step_ns)}: {count(usage.steps)}, "
                f"calls to Netra: up to about {count(usage.calls)}",
                markup=False,
                soft_wrap=True,
            )
        await usage.check(known=bool(named))
        async with aclosing(usage.readings()) as readings:
            if path is not None:
                samples = await write_openmetrics(path, readings, labels)
            elif sender is not None:
                async with aclosing(sender):
                    samples = await send_readings(sender, readings, window.start_ns, labels, SERVICE_NAME)
        return {
            "window": {"from": iso_ms(window.start_ns), "until": iso_ms(window.end_ns)},
            "step": duration_text(step_ns),
            "to": target.text,
            "tenants": [
                {
                    "tenant_id": tenant_id,
                    "token_count": total.tokens,
                    "request_count": total.requests,
                    "total_cost": total.cost,
                }
                for tenant_id, total in usage.totals.items()
            ],
            "differing": usage.differing,
            "samples": samples,
            "api_calls": client.stats.calls.total(),
            "seconds": round(bridge.clock.monotonic() - started, 3),
            "exit_code": 0,
        }
