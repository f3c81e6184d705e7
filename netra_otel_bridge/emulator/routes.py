"""The paths of the Netra API (``docs/netra-api.md``) and their calls."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote


class Route(NamedTuple):
    """A call: its name, HTTP method, and the id in its path."""

    name: str
    method: str = "GET"
    subject: str = ""


DASHBOARD = frozenset({"query_data", "session_stats", "session_summary", "session_details", "models"})
USAGE = frozenset({"session_usage", "tenant_usage"})
_FIXED = {
    "/sdk/traces": Route("traces", "POST"),
    "/sdk/models": Route("models"),
    "/public/dashboard/query-data": Route("query_data", "POST"),
    "/public/dashboard/sessions/stats": Route("session_stats", "POST"),
    "/public/dashboard/sessions/summary": Route("session_summary", "POST"),
}
_WITH_ID = {
    "/sdk/traces/spans/": "span",
    "/usage/sessions/": "session_usage",
    "/usage/tenants/": "tenant_usage",
    "/public/dashboard/session/": "session_details",
}
_TRACE, _SPANS = "/sdk/traces/", "/spans"


def find_route(path: str) -> Route | None:
    """Return the call of a raw path, or ``None``."""
    fixed = _FIXED.get(path)
    if fixed is not None:
        return fixed
    for prefix, name in _WITH_ID.items():
        if path.startswith(prefix) and len(path) > len(prefix):
            return Route(name, subject=unquote(path[len(prefix) :]))
    if path.startswith(_TRACE) and path.endswith(_SPANS) and path.count("/") == 4:
        return Route("spans", subject=unquote(path[len(_TRACE) : -len(_SPANS)]))
    return None
