"""Write usage readings with their own times: to an OpenMetrics file, or through an OpenTelemetry metric exporter."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from netra_otel_bridge.convert.semconv import TENANT_ID
from netra_otel_bridge.core.errors import ConfigurationError, DestinationUnavailable
from netra_otel_bridge.usage import openmetrics
from netra_otel_bridge.usage.backfill import UsageReading
from netra_otel_bridge.usage.counters import COUNTERS, UsageCounter
from netra_otel_bridge.usage.metric_sender import MetricSender

BATCH_READINGS = 500
"""Readings per request, each with three data points: about 300 kB, far below what servers accept."""
_SCOPE = InstrumentationScope("netra_otel_bridge")


def file_for(path: Path) -> Path:
    """Return the file that ``path`` leads to, with links resolved.

    Raises `ConfigurationError` if no file can be written there.
    """
    whole = path.expanduser().resolve()
    if whole.exists() and not whole.is_file():
        raise ConfigurationError(f"{path} is not a file", hint="give openmetrics: the path of a file")
    if not os.access(whole.parent, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"no file can be written in {whole.parent}", hint="create the directory, or choose another"
        )
    return whole


async def write_openmetrics(path: Path, readings: AsyncIterator[UsageReading], labels: Mapping[str, str]) -> int:
    """Write all readings to a file, with ``labels`` beside the tenant's. Return the number of samples.

    ``path`` comes from `file_for`. The file appears only when it is complete and is readable by its owner only; until
    then whatever was there stays. Readings are kept on disk beside it meanwhile, never in memory. Raises
    `DestinationUnavailable` if the disk rejects the writes.
    """
    samples = 0
    try:
        with ExitStack() as stack:
            parts = [
                stack.enter_context(
                    TemporaryFile("w+", dir=path.parent, encoding="utf-8", errors="replace", newline="\n")
                )
                for _ in COUNTERS
            ]
            for counter, part in zip(COUNTERS, parts, strict=True):
                part.write(openmetrics.metadata(counter))
            async for reading in readings:
                label_set = openmetrics.label_set({**labels, openmetrics.tenant_label(): reading.tenant_id})
                for counter, part in zip(COUNTERS, parts, strict=True):
                    part.write(openmetrics.sample(counter, label_set, counter.read(reading.total), reading.time_ns))
                samples += len(parts)
            _join(parts, path)
    except OSError as error:
        raise DestinationUnavailable(
            f"{path} cannot be written: {error.strerror}", hint="nothing was left there; free some space and try again"
        ) from error
    return samples


def _join(parts: Iterable[IO[str]], path: Path) -> None:
    """Write all parts to one file, which gets its name only once it is on the disk."""
    with NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", newline="\n", delete=False
    ) as whole:
        try:
            for part in parts:
                part.seek(0)
                shutil.copyfileobj(part, whole)
            whole.write(openmetrics.END)
            whole.flush()
            os.fsync(whole.fileno())
            Path(whole.name).replace(path)
        except BaseException:
            Path(whole.name).unlink(missing_ok=True)
            raise


async def send_readings(
    sender: MetricSender,
    readings: AsyncIterator[UsageReading],
    start_ns: int,
    attributes: Mapping[str, str],
    service: str,
) -> int:
    """Send all readings to an exporter, in order. Return the number of data points.

    The resource is ``service``, or what ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` say. It has no instance
    id, because the SDK's would be random: sending again must produce the same series. Raises `DestinationError`.
    """
    resource = Resource({"service.name": service}).merge(OTELResourceDetector().detect())
    points = 0
    batch: list[UsageReading] = []

    async def send() -> int:
        await sender.send(usage_metrics(batch, start_ns, attributes, resource))
        return len(batch) * len(COUNTERS)

    async for reading in readings:
        batch.append(reading)
        if len(batch) == BATCH_READINGS:
            points += await send()
            batch.clear()
    if batch:
        points += await send()
    return points


def usage_metrics(
    readings: Sequence[UsageReading],
    start_ns: int,
    attributes: Mapping[str, str],
    resource: Resource,
) -> MetricsData:
    """Return the three usage counters with a point per reading: monotonic sums, cumulative since ``start_ns``.

    A reading at ``start_ns`` itself is the data model's reset point: 0 at the start time.
    """
    metrics = [
        Metric(
            name=counter.name,
            description=counter.description,
            unit=counter.unit,
            data=Sum(
                data_points=[_point(counter, reading, start_ns, attributes) for reading in readings],
                aggregation_temporality=AggregationTemporality.CUMULATIVE,
                is_monotonic=True,
            ),
        )
        for counter in COUNTERS
    ]
    scope_metrics = ScopeMetrics(scope=_SCOPE, metrics=metrics, schema_url="")
    return MetricsData([ResourceMetrics(resource=resource, scope_metrics=[scope_metrics], schema_url="")])


def _point(
    counter: UsageCounter, reading: UsageReading, start_ns: int, attributes: Mapping[str, str]
) -> NumberDataPoint:
    return NumberDataPoint(
        attributes={**attributes, TENANT_ID: reading.tenant_id},
        start_time_unix_nano=start_ns,
        time_unix_nano=reading.time_ns,
        value=counter.read(reading.total),
    )
