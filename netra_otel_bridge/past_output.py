"""Where past usage goes: an OpenMetrics file, or a metric exporter."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from netra_otel_bridge.convert import openmetrics
from netra_otel_bridge.convert.openmetrics import USAGE_COUNTERS, UsageReading
from netra_otel_bridge.convert.usage_points import usage_metrics
from netra_otel_bridge.deliver.metric_sender import MetricSender
from netra_otel_bridge.errors import ConfigurationError, DestinationUnavailable

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
