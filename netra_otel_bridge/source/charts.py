"""Turn the JSON of the dashboard calls into the values of `netra_otel_bridge.dashboards`.

A chart is ``{"timeRange": {...}, "data": ...}``, and may be nested inside ``data``, at any depth. The requested chart
type determines the shape of ``data``; any other shape is a `NetraSchemaError` with its JSON path, never an empty chart.
A value is a number, or text that contains one. Null and NaN become ``None``: a percentile of no values is undefined.
"""

from __future__ import annotations

import math
from typing import Any

from netra_otel_bridge.core.model.dashboards import (
    Bar,
    ChartType,
    DashboardData,
    Point,
    SessionDetails,
    SessionStats,
    SessionStatsPage,
    TimeRange,
)
from netra_otel_bridge.core.model.netra import Instant, Number
from netra_otel_bridge.source.lenient import number, parse, text
from netra_otel_bridge.source.schema import as_object, read_page, wrong

Row = tuple[dict[str, Any], str]
"""An object in a list, and its JSON path."""


def decode_chart(body: bytes, chart_type: ChartType, by_dimension: bool) -> DashboardData:
    """Return a chart of the requested type. Raises `CutAnswer`, `NetraSchemaError`."""
    block, path = as_object(parse(body), "$"), "$"
    time_range = _time_range(block)
    data: object = block
    while isinstance(data, dict) and "data" in data:
        data, path = data["data"], f"{path}.data"
        time_range = _time_range(data) or time_range
    if chart_type == "Number":
        return DashboardData(time_range=time_range, number=_value(as_object(data, path), path))
    if "Time Series" not in chart_type:
        return DashboardData(time_range=time_range, bars=[_bar(*row) for row in _rows(data, path)])
    names: list[str | None] = []
    if isinstance(data, dict):
        names = _names(data.get("dimensions"))
        data, path = _field(data, "timeSeries", path), f"{path}.timeSeries"
    steps = _rows(data, path)
    if not by_dimension:
        points = [Point(_date(step, at), _value(step, at)) for step, at in steps]
        return DashboardData(time_range=time_range, series=points)
    lines: dict[str | None, list[Point]] = {name: [] for name in names}
    for step, at in steps:
        date = _date(step, at)
        for bar in [_bar(*row) for row in _rows(_field(step, "values", at), f"{at}.values")]:
            lines.setdefault(bar.dimension, []).append(Point(date, bar.value))
    return DashboardData(time_range=time_range, dimension_series=lines)


def decode_sessions(body: bytes) -> SessionStatsPage:
    """Return a page of sessions. Raises `CutAnswer`, `NetraSchemaError`."""
    sessions, bad, cursor, more = read_page(SessionStats, body, "sessions")
    return SessionStatsPage(sessions=sessions, has_next_page=more, next_cursor=cursor, unreadable=bad)


def decode_summary(body: bytes) -> dict[str, Any]:
    """Return the object in ``data``. Raises `CutAnswer`, `NetraSchemaError`."""
    return as_object(_field(as_object(parse(body), "$"), "data", "$"), "$.data")


def decode_session(body: bytes) -> SessionDetails | None:
    """Return one session; ``None`` for a session that Netra does not know. Raises `CutAnswer`, `NetraSchemaError`."""
    root = as_object(parse(body), "$")
    data = _field(root, "data", "$")
    if data is None:
        return None
    session = as_object(data, "$.data")
    session_id = text(session.get("sessionId"))
    if not session_id:
        return None
    rows = _rows(_field(session, "traces", "$.data"), "$.data.traces")
    return SessionDetails(session_id=session_id, traces=[trace for trace, _ in rows])


def decode_prices(body: bytes) -> list[dict[str, Any]]:
    """Return the items of ``data``. Raises `CutAnswer`, `NetraSchemaError`."""
    return [row for row, _ in _rows(_field(as_object(parse(body), "$"), "data", "$"), "$.data")]


def _time_range(block: object) -> TimeRange | None:
    given = block.get("timeRange") if isinstance(block, dict) else None
    if not isinstance(given, dict):
        return None
    return TimeRange(start_time=text(given.get("startTime")), end_time=text(given.get("endTime")))


def _names(value: object) -> list[str | None]:
    """Return the dimensions that Netra lists beside the series, in its order, including those without any points."""
    given = value if isinstance(value, list) else []
    return [text(name) for name in given if name is None or text(name) is not None]


def _rows(value: object, path: str) -> list[Row]:
    if not isinstance(value, list):
        raise wrong(path, True, value, "a list")
    return [(as_object(item, f"{path}[{index}]"), f"{path}[{index}]") for index, item in enumerate(value)]


def _field(block: dict[str, Any], name: str, path: str) -> object:
    if name not in block:
        raise wrong(f"{path}.{name}", False, None, "a value")
    return block[name]


def _bar(row: dict[str, Any], path: str) -> Bar:
    given = _field(row, "dimension", path)
    dimension = text(given)
    if dimension is None and given is not None:
        raise wrong(f"{path}.dimension", True, given, "a string")
    return Bar(dimension, _value(row, path))


def _date(row: dict[str, Any], path: str) -> Instant:
    given = row.get("date")
    if isinstance(given, str | int | float) and text(given):
        return given
    raise wrong(f"{path}.date", "date" in row, given, "a time")


def _value(row: dict[str, Any], path: str) -> Number | None:
    given = _field(row, "value", path)
    read = number(given)
    if read is None and given is not None and not (isinstance(given, float) and not math.isfinite(given)):
        raise wrong(f"{path}.value", True, given, "a number")
    return read
