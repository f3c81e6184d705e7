"""Metric exporters, called directly: every failure becomes an error with a hint."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from netra_otel_bridge.core.clock import Backoff
from netra_otel_bridge.core.errors import (
    DestinationMisconfigured,
    DestinationRefuses,
    DestinationUnauthorized,
    DestinationUnavailable,
)
from netra_otel_bridge.usage.metric_sender import MetricSender
from tests.support.fake_clock import FakeClock

DATA = MetricsData([])
TOKEN = "token-7e21"
_log = logging.getLogger("opentelemetry.exporter.test")


class Exporter(MetricExporter):
    """An exporter that follows its script, one step per ``export``; afterwards it succeeds."""

    def __init__(self, *steps: Any) -> None:
        super().__init__()
        self.steps = list(steps)
        self.calls = self.shut_down = 0

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:
        self.calls += 1
        step = self.steps.pop(0) if self.steps else MetricExportResult.SUCCESS
        if isinstance(step, BaseException):
            raise step
        result: MetricExportResult = step() if callable(step) else step
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        self.shut_down += 1


def says(*words: str) -> Any:
    def step() -> MetricExportResult:
        _log.error(*words)
        return MetricExportResult.FAILURE

    return step


def sender_of(exporter: MetricExporter, deadline_s: float = 5.0) -> MetricSender:
    return MetricSender(
        "otlp", exporter, backoff=Backoff(attempts=3), clock=FakeClock(), secrets=(TOKEN,), deadline_s=deadline_s
    )


@pytest.mark.parametrize(
    ("step", "kind", "message", "calls"),
    [
        (says("Failed: %s", f"StatusCode.INVALID_ARGUMENT {TOKEN}"), DestinationRefuses, "INVALID_ARGUMENT ***", 1),
        (says("Failed to export metrics batch code: 403"), DestinationUnauthorized, "rejects the credentials", 1),
        (says("Failed to export metrics batch code: 404"), DestinationMisconfigured, "check the address", 1),
        (says("Failed: connection refused"), DestinationUnavailable, "run the same command", 3),
        (OSError("no route"), DestinationUnavailable, "no route", 3),
        (ValueError("bad point"), DestinationRefuses, "raised ValueError: bad point", 1),
        (lambda: None, DestinationMisconfigured, "returned None", 1),
    ],
)
async def test_each_failure_is_an_error(
    step: Any, kind: type[Exception], message: str, calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Transient failures are retried; no message contains a secret, and nothing reaches the log."""
    exporter = Exporter(*[step] * 9)
    sender = sender_of(exporter)
    with pytest.raises(kind) as raised:
        await sender.send(DATA)
    await sender.aclose()
    assert message in str(raised.value)
    assert str(raised.value).startswith("otlp: ")
    assert TOKEN not in str(raised.value)
    assert (exporter.calls, exporter.shut_down) == (calls, 1)
    assert not caplog.records


async def test_what_passes_later_has_passed() -> None:
    """After one failure the request is sent again, and there is no error."""
    exporter = Exporter(says("UNAVAILABLE"))
    sender = sender_of(exporter)
    await sender.send(DATA)
    await sender.aclose()
    assert exporter.calls == 2


async def test_an_exporter_that_hangs_is_abandoned() -> None:
    """An exporter that hangs is called once, the deadline ends the wait, and closing does not hang."""
    ever = threading.Event()
    exporter = Exporter(lambda: ever.wait(20))
    sender = sender_of(exporter, deadline_s=0.05)
    with pytest.raises(DestinationUnavailable, match="did not return within"):
        await sender.send(DATA)
    ever.set()
    await sender.aclose()
    assert exporter.calls == 1
