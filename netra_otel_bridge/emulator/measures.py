"""The measures of the dashboard: the value of one span or trace, and the aggregation of values.

A value of ``None`` is absent: no sum or average includes it. Sums include only counted spans (`span_columns`), like
those of the usage calls.

==================  =================================================  ==========================
measure             of a span; of a trace                              aggregations
==================  =================================================  ==========================
Latency             ``latency_ms``                                     average, percentiles
Error Rate          100 with an error, else 0                          percentage
PII Count           what was found: one for each entity, at least one  total count
Violations          likewise
Request Count       1 for a span that counts; 1 for every trace        total count
Total Cost          US dollars                                         sum, average, percentiles
Total Tokens        tokens                                             sum, average, percentiles
Time to First       milliseconds from the span's start; from the       average, percentiles
Token               trace's, to the earliest in it
==================  =================================================  ==========================

Netra's documentation calls the sum of a cost ``Total Count``; that and ``Sum`` are the same here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from netra_otel_bridge.emulator.render import Row
from netra_otel_bridge.emulator.summary import Summary

_COST_DIGITS = 10
Number = int | float


class Part(NamedTuple):
    """The part of a trace that is in the range: its spans there (at least one), and their summary."""

    rows: Sequence[Row]
    summary: Summary


def _latency(row: Row) -> Number:
    return (row.end_ns - row.start_ns) // 1_000_000


def _tokens(row: Row) -> Number | None:
    return row.columns.total_tokens if row.columns.counted else None


def _pii(row: Row) -> int:
    return 0 if row.columns.pii is None else max(1, len(row.columns.pii.names))


def _violations(row: Row) -> int:
    return 0 if row.columns.violations is None else max(1, len(row.columns.violations.names))


def _one(_part: Part) -> int:
    return 1


def _first_token(part: Part) -> Number | None:
    known = [
        row.start_ns / 1_000_000 + row.columns.first_token_ms
        for row in part.rows
        if row.columns.first_token_ms is not None
    ]
    return min(known) - part.summary.start_ns / 1_000_000 if known else None


SPAN_VALUES: dict[str, Callable[[Row], Number | None]] = {
    "Latency": _latency,
    "Error Rate": lambda row: 100 if row.has_error else 0,
    "PII Count": _pii,
    "Violations": _violations,
    "Request Count": lambda row: 1 if row.columns.counted else None,
    "Total Cost": lambda row: row.columns.costs.total,
    "Total Tokens": _tokens,
    "Time to First Token": lambda row: row.columns.first_token_ms,
}
TRACE_VALUES: dict[str, Callable[[Part], Number | None]] = {
    "Latency": lambda part: part.summary.item.latency_ms,
    "Error Rate": lambda part: 100 if part.summary.item.has_error else 0,
    "PII Count": lambda part: sum(map(_pii, part.rows)),
    "Violations": lambda part: sum(map(_violations, part.rows)),
    "Request Count": _one,
    "Total Cost": lambda part: part.summary.item.total_cost,
    "Total Tokens": lambda part: part.summary.item.total_tokens,
    "Time to First Token": _first_token,
}


def total(values: Sequence[Number]) -> Number:
    """Return the sum; costs are rounded to ten digits, as in the usage calls."""
    return sum(values) if all(isinstance(value, int) for value in values) else round(math.fsum(values), _COST_DIGITS)


def average(values: Sequence[Number]) -> float | None:
    """Return the mean; ``None`` without values."""
    return math.fsum(values) / len(values) if values else None


def percentile(values: Sequence[Number], share: float) -> float | None:
    """Return the value below which ``share`` of the values are, interpolated linearly; ``None`` without values."""
    if not values:
        return None
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


Aggregate = Callable[[Sequence[Number]], Number | None]
_SPREAD: dict[str, Aggregate] = {
    "Average": average,
    "p50": lambda values: percentile(values, 0.5),
    "Median (p50)": lambda values: percentile(values, 0.5),
    "p90": lambda values: percentile(values, 0.9),
    "p95": lambda values: percentile(values, 0.95),
    "p99": lambda values: percentile(values, 0.99),
}
_COUNT: dict[str, Aggregate] = {"Total Count": total}
_SUM: dict[str, Aggregate] = {"Sum": total, **_COUNT, **_SPREAD}
AGGREGATIONS: dict[str, dict[str, Aggregate]] = {
    "Latency": _SPREAD,
    "Error Rate": {"Percentage": average},
    "PII Count": _COUNT,
    "Violations": _COUNT,
    "Request Count": _COUNT,
    "Total Cost": _SUM,
    "Total Tokens": _SUM,
    "Time to First Token": _SPREAD,
}
"""Aggregations that each measure allows."""
