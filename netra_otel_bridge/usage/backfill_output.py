"""Usage readings as OpenTelemetry metrics with the times they belong to."""

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
from netra_otel_bridge.usage.metric_sender import MetricSender
from netra_otel_bridge.usage.openmetrics import USAGE_COUNTERS, UsageCounter, UsageReading

BATCH_READINGS = 500
"""Readings that travel in one request, each as three data points: some 300 kB, far below what servers take."""


def file_for(path: Path) -> Path:
    """The file that a path means, behind links. Raises `ConfigurationError` where no file can be written there."""
    whole = path.expanduser().resolve()
    if whole.exists() and not whole.is_file():
        raise ConfigurationError(f"{path} is not a file", hint="give openmetrics: the path of a file")
    if not os.access(whole.parent, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"no file can be written in {whole.parent}", hint="make the directory, or take another"
        )
    return whole


async def write_openmetrics(path: Path, readings: AsyncIterator[UsageReading], labels: Mapping[str, str]) -> int:
    """Write all readings, with ``labels`` beside the tenant's; returns the number of samples.

    The file is there when it is whole, and readable by its owner alone; what was at ``path`` (a path of `file_for`)
    stays until then. Readings are kept on disk beside it meanwhile, never in memory. Raises `DestinationUnavailable`
    where the disk does not take them.
    """
    samples = 0
    try:
        with ExitStack() as stack:
            parts = [
                stack.enter_context(
                    TemporaryFile("w+", dir=path.parent, encoding="utf-8", errors="replace", newline="\n")
                )
                for _ in USAGE_COUNTERS
            ]
            for counter, part in zip(USAGE_COUNTERS, parts, strict=True):
                part.write(openmetrics.metadata(counter))
            async for reading in readings:
                label_set = openmetrics.label_set({**labels, openmetrics.tenant_label(): reading.tenant_id})
                for counter, part in zip(USAGE_COUNTERS, parts, strict=True):
                    part.write(openmetrics.sample(counter, label_set, counter.read(reading.total), reading.time_ns))
                samples += len(parts)
            _put_together(path, parts)
    except OSError as error:
        raise DestinationUnavailable(
            f"{path} cannot be written: {error.strerror}", hint="nothing was left there; free space, and try again"
        ) from error
    return samples


def _put_together(path: Path, parts: Iterable[IO[str]]) -> None:
    """One file of all parts, under its own name only when it is on the disk."""
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
    """Hand all readings to an exporter, in their order; returns the number of data points.

    They come from ``service``, or from what ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` say, and from no
    instance of it, where the SDK would make one up: sent again, they are the same series. Raises `DestinationError`.
    """
    resource = Resource({"service.name": service}).merge(OTELResourceDetector().detect())
    points = 0
    batch: list[UsageReading] = []

    async def send() -> int:
        await sender.send(usage_metrics(batch, start_ns, attributes, resource))
        return len(batch) * len(USAGE_COUNTERS)

    async for reading in readings:
        batch.append(reading)
        if len(batch) == BATCH_READINGS:
            points += await send()
            batch.clear()
    if batch:
        points += await send()
    return points


_SCOPE = InstrumentationScope("netra_otel_bridge")


def usage_metrics(
    readings: Sequence[UsageReading],
    start_ns: int,
    attributes: Mapping[str, str],
    resource: Resource,
) -> MetricsData:
    """The three usage counters, with a point for each reading: monotonic sums, cumulative since ``start_ns``.

    A reading at ``start_ns`` itself is the reset that the data model has for the start of a sum: 0 at the start time.
    """
    metrics = [
        Metric(
            name=counter.name,
            description=counter.description,
            unit=counter.unit,
            data=Sum(
                data_points=[_point(counter, one, start_ns, attributes) for one in readings],
                aggregation_temporality=AggregationTemporality.CUMULATIVE,
                is_monotonic=True,
            ),
        )
        for counter in USAGE_COUNTERS
    ]
    of_scope = ScopeMetrics(scope=_SCOPE, metrics=metrics, schema_url="")
    return MetricsData([ResourceMetrics(resource=resource, scope_metrics=[of_scope], schema_url="")])


def _point(
    counter: UsageCounter, reading: UsageReading, start_ns: int, attributes: Mapping[str, str]
) -> NumberDataPoint:
    return NumberDataPoint(
        attributes={**attributes, TENANT_ID: reading.tenant_id},
        start_time_unix_nano=start_ns,
        time_unix_nano=reading.time_ns,
        value=counter.read(reading.total),
    )
