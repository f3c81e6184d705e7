"""Arguments and results of Netra's dashboard calls.

The names are those of ``netra.dashboard`` in netra-sdk 1.2.2, whose enumerations are plain strings here. Conditions are
`netra_otel_bridge.TraceFilter`; those on sessions use ``operator="any_of"``, ``type="arrayOptions"`` and a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from netra_otel_bridge.core.model.netra import Instant, Number, UnreadableItem
from netra_otel_bridge.core.model.query import TraceFilter

Scope = Literal["Spans", "Traces", "Custom"]
ChartType = Literal["Line Time Series", "Bar Time Series", "Horizontal Bar", "Vertical Bar", "Pie", "Number"]
Measure = Literal[
    "Latency", "Error Rate", "PII Count", "Request Count", "Total Cost", "Violations", "Total Tokens",
    "Audio Duration", "Character Count", "Time to First Token", "Custom",
]  # fmt: skip
Aggregation = Literal[
    "Average", "p50", "p90", "p95", "p99", "Median (p50)", "Percentage", "Total Count", "Sum"
]  # fmt: skip
GroupBy = Literal["day", "hour", "minute"]
SessionSort = Literal["session_id", "start_time", "totalRequests", "totalCost"]


@dataclass(frozen=True, slots=True)
class Metrics:
    """The measure to compute. ``metric_name`` names the metric if the measure is ``Custom``."""

    measure: Measure
    aggregation: Aggregation
    metric_name: str | None = None


@dataclass(frozen=True, slots=True)
class FilterConfig:
    """The data to compute it from: a range of time, the step of a series, and conditions that must all hold.

    A time is ISO 8601 text, which is sent unchanged, or a datetime with a zone.
    """

    start_time: str | datetime
    end_time: str | datetime
    group_by: GroupBy
    filters: Sequence[TraceFilter] | None = None


@dataclass(frozen=True, slots=True)
class SessionFilterConfig:
    """The sessions to sum: a range of time, and conditions that must all hold."""

    start_time: str | datetime
    end_time: str | datetime
    filters: Sequence[TraceFilter] | None = None


@dataclass(frozen=True, slots=True)
class Dimension:
    """The dimension to split by: ``environment``, ``service``, ``model_name``, or ``custom`` with the ``name`` of a field."""

    field: str
    name: str | None = None


class TimeRange(msgspec.Struct, frozen=True, kw_only=True):
    """The time range of the response, in Netra's own text."""

    start_time: str | None = None
    end_time: str | None = None


class Point(msgspec.Struct, frozen=True):
    """The value of one time step; ``date`` is Netra's own text.

    The value is ``None`` if Netra gives none (null, NaN).
    """

    date: Instant
    value: Number | None


class Bar(msgspec.Struct, frozen=True):
    """The value of one service, environment or model; the dimension is ``None`` for spans without one."""

    dimension: str | None
    value: Number | None


class DashboardData(msgspec.Struct, frozen=True, kw_only=True):
    """The result of `query_data`. The chart type decides which of the four fields is set; the others are ``None``.

    ``series`` is a time series. ``dimension_series`` holds one for each dimension, in Netra's order. ``bars`` is for bars
    and pies, ``number`` for numbers, where ``None`` also means that Netra gives no value. Units are Netra's: US dollars,
    tokens, requests, milliseconds of latency.
    """

    time_range: TimeRange | None = None
    series: list[Point] | None = None
    dimension_series: dict[str | None, list[Point]] | None = None
    bars: list[Bar] | None = None
    number: Number | None = None


class SessionStats(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One session in a range of time. ``total_cost`` is in US dollars; times and durations are Netra's own text.

    ``unreadable`` names the fields whose value could not be converted to the documented type; they are ``None``.
    """

    session_id: str
    session_start_time: Instant | None = None
    total_requests: Number | None = msgspec.field(default=None, name="totalRequests")
    total_cost: Number | None = msgspec.field(default=None, name="totalCost")
    session_duration: Instant | None = None
    cursor: str | None = None
    unreadable: tuple[str, ...] = ()


class SessionStatsPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of sessions. ``next_cursor`` is the last item's; a page without items has none."""

    sessions: list[SessionStats]
    has_next_page: bool
    next_cursor: str | None = None
    unreadable: tuple[UnreadableItem, ...] = ()


class SessionDetails(msgspec.Struct, frozen=True, kw_only=True):
    """One session with its traces, in Netra's undocumented form."""

    session_id: str
    traces: list[dict[str, Any]]
