"""Metrics of the service itself, read from its health."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator

from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.model.health import ArrivalHealth, LaneHealth, ServiceHealth, UsageHealth
from netra_otel_bridge.usage.instruments import Instrument, Value
from netra_otel_bridge.version import __version__


def _by_lane(read: Callable[[LaneHealth], float]) -> Callable[[ServiceHealth], Iterator[Value]]:
    def values(health: ServiceHealth) -> Iterator[Value]:
        for lane in health.lanes:
            yield read(lane), {"destination": lane.destination}

    return values


def _by_arrival(read: Callable[[ArrivalHealth], float]) -> Callable[[ServiceHealth], Iterator[Value]]:
    """Read one value of each lane whose destination is read back."""

    def values(health: ServiceHealth) -> Iterator[Value]:
        for lane in health.lanes:
            if lane.arrival is not None:
                yield read(lane.arrival), {"destination": lane.destination}

    return values


def _lag(health: ServiceHealth) -> Iterator[Value]:
    """Read the lag of each lane that has one. It is negative if a clock was or is wrong."""
    for lane in health.lanes:
        if lane.watermark_ns:
            yield (health.now_ns - lane.watermark_ns) / NS_PER_S, {"destination": lane.destination}


def _checkpoint_age(health: ServiceHealth) -> Iterator[Value]:
    """Read the time since each lane stored progress, which is by this machine's clock."""
    for lane in health.lanes:
        if lane.checkpoint_ns:
            yield max(0, health.clock.own_ns - lane.checkpoint_ns) / NS_PER_S, {"destination": lane.destination}


def _clock_offset(health: ServiceHealth) -> Iterator[Value]:
    if health.clock.offset_ns is not None:
        yield health.clock.offset_ns / NS_PER_S, {}


def _by_usage(read: Callable[[UsageHealth, int], float]) -> Callable[[ServiceHealth], Iterator[Value]]:
    """Read one value of the usage lane; there is none if usage is not polled."""

    def values(health: ServiceHealth) -> Iterator[Value]:
        if health.usage is not None:
            yield read(health.usage, health.now_ns), {}

    return values


def _api_calls(health: ServiceHealth) -> Iterator[Value]:
    for status, calls in health.api_calls.items():
        yield calls, {"http.response.status_code": str(status) if status else "none"}


def _build(_: ServiceHealth) -> Iterator[Value]:
    yield 1, {"version": __version__, "python": platform.python_version()}


INSTRUMENTS: tuple[Instrument[ServiceHealth], ...] = (
    Instrument(
        "netra_bridge.spans.read",
        "counter",
        "{span}",
        "Spans read from Netra and converted, for this destination",
        _by_lane(lambda lane: lane.read),
    ),
    Instrument(
        "netra_bridge.spans.delivered",
        "counter",
        "{span}",
        "Spans that the destination accepted",
        _by_lane(lambda lane: lane.delivered),
    ),
    Instrument(
        "netra_bridge.spans.refused",
        "counter",
        "{span}",
        "Spans that the destination rejected without saying which (OTLP partial success); they are not sent again",
        _by_lane(lambda lane: lane.refused),
    ),
    Instrument(
        "netra_bridge.spans.dead_lettered",
        "counter",
        "{span}",
        "Spans and items that can never be delivered, kept in the state with the reason",
        _by_lane(lambda lane: lane.dead_lettered),
    ),
    Instrument(
        "netra_bridge.traces.held_back",
        "gauge",
        "{trace}",
        "Traces that Netra listed but could not show, held back until another attempt; state held-back lists them",
        _by_lane(lambda lane: lane.held_back),
    ),
    Instrument(
        "netra_bridge.verified",
        "counter",
        "{span}",
        "Spans of live traffic that were looked up in the store behind the destination, missing ones included: a sample of a few traces a minute",
        _by_arrival(lambda arrival: arrival.verified),
    ),
    Instrument(
        "netra_bridge.missing",
        "counter",
        "{span}",
        "Spans of that sample that the destination accepted and that its store does not have",
        _by_arrival(lambda arrival: arrival.missing),
    ),
    Instrument(
        "netra_bridge.changed",
        "counter",
        "{span}",
        "Spans of that sample that the store has with other content, or cut",
        _by_arrival(lambda arrival: arrival.changed),
    ),
    Instrument(
        "netra_bridge.verify.failures",
        "counter",
        "{failure}",
        "Times that the store could not be asked; such spans count neither as verified nor as missing",
        _by_arrival(lambda arrival: arrival.failures),
    ),
    Instrument(
        "netra_bridge.delivery.size",
        "counter",
        "By",
        "Encoded size of the spans that the destination accepted",
        _by_lane(lambda lane: lane.size_bytes),
    ),
    Instrument(
        "netra_bridge.delivery.retries",
        "counter",
        "{retry}",
        "Requests to the destination that were retried",
        _by_lane(lambda lane: lane.retries),
    ),
    Instrument(
        "netra_bridge.lane.up",
        "gauge",
        "1",
        "1 while nothing blocks delivery to the destination, else 0; /readyz says what blocks it",
        _by_lane(lambda lane: int(not lane.problem and not lane.stopped)),
    ),
    Instrument(
        "netra_bridge.lag",
        "gauge",
        "s",
        "Lag of the destination: the time since the moment up to which live traffic has been followed; it is negative "
        "only if a clock is wrong",
        _lag,
    ),
    Instrument(
        "netra_bridge.checkpoint.age",
        "gauge",
        "s",
        "The time since progress of the destination was last stored",
        _checkpoint_age,
    ),
    Instrument(
        "netra_bridge.api.calls",
        "counter",
        "{call}",
        "Calls to Netra by the HTTP status of the response; none means no response",
        _api_calls,
    ),
    Instrument(
        "netra_bridge.api.retries",
        "counter",
        "{retry}",
        "Calls to Netra that were retried",
        lambda health: [(health.api_retries, {})],
    ),
    Instrument(
        "netra_bridge.usage.up",
        "gauge",
        "1",
        "1 while nothing blocks the polling of usage, else 0; /readyz says what blocks it",
        _by_usage(lambda usage, _: int(not usage.problem)),
    ),
    Instrument(
        "netra_bridge.usage.age",
        "gauge",
        "s",
        "The time since all usage that was due was last polled, or since the start",
        _by_usage(lambda usage, now_ns: max(0, now_ns - (usage.polled_ns or usage.started_ns)) / NS_PER_S),
    ),
    Instrument(
        "netra_bridge.event_loop.delay",
        "gauge",
        "s",
        "Longest delay of the event loop in the last minute or two; health checks and signals wait for so long",
        lambda health: [(health.loop_delay_s, {})],
    ),
    Instrument(
        "netra_bridge.clock.offset",
        "gauge",
        "s",
        "Netra's clock less this machine's: the largest difference of the last two minutes if they disagree",
        _clock_offset,
    ),
    Instrument("netra_bridge.build.info", "gauge", "1", "Always 1; the attributes name the running version", _build),
)
