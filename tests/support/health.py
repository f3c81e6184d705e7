"""Invented states of health of a service."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from netra_otel_bridge.core.clock import NS_PER_S
from netra_otel_bridge.core.model.health import ArrivalHealth, ClockHealth, LaneHealth, ServiceHealth, UsageHealth

NOW_NS = 1_777_593_600 * NS_PER_S
"""2026-05-01T00:00:00Z"""
_WELL = LaneHealth(
    destination="otlp+grpc://127.0.0.1:4317",
    stopped=False,
    problem="",
    problem_since_ns=0,
    watermark_ns=NOW_NS - 31 * NS_PER_S,
    checkpoint_ns=NOW_NS - 2 * NS_PER_S,
    passes=3,
    read=50,
    delivered=47,
    refused=2,
    dead_lettered=1,
    size_bytes=12_345,
    retries=4,
    held_back=6,
    arrival=ArrivalHealth(verified=40, missing=3, changed=5, failures=8),
)


def lane_health(**changes: Any) -> LaneHealth:
    """Return a healthy lane, 31 s behind, with ``changes`` applied."""
    return replace(_WELL, **changes)


def service_health(*lanes: LaneHealth) -> ServiceHealth:
    """Return the service at `NOW_NS`: one healthy lane if none are given; 7 calls to Netra, 1 of them unanswered; usage
    polled 12 s before.
    """
    return ServiceHealth(
        now_ns=NOW_NS,
        clock=ClockHealth(NOW_NS, 0),
        lanes=lanes or (lane_health(),),
        api_calls={200: 7, 0: 1},
        api_retries=1,
        usage=UsageHealth(
            started_ns=NOW_NS - 60 * 10**9, problem="", problem_since_ns=0, polled_ns=NOW_NS - 12 * 10**9
        ),
    )
