"""Read traces from Phoenix's REST API, ``/v1/projects/{project}/spans``, page by page.

A trace is in one project, whatever the resources of its spans say: that of its first span. So the projects are asked one
after the other, beginning with the one that had the trace before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.time_text import datetime_ns
from netra_otel_bridge.readback.address import Address
from netra_otel_bridge.readback.asking import MAX_BODY_BYTES, TIMEOUT_S, Asker, Response
from netra_otel_bridge.readback.otlp_json import NotOtlp, decode_json, id_bytes
from netra_otel_bridge.readback.patience import DEADLINE_S
from netra_otel_bridge.readback.phoenix_form import SPAN_KIND, PhoenixForm
from netra_otel_bridge.readback.plain_values import key_values
from netra_otel_bridge.readback.reader import TraceNotReturned

T = TypeVar("T")
_PAGE = 1000
_PROJECT_PAGE = 100
_JSON = "application/json"
_PROJECT_HINT = "name an existing project after the address, or none"


class PhoenixReader:
    """Reads from Phoenix. The last part of the path of ``address`` is the project to read; without it, all are read.

    No connection is made before the first call.
    """

    store = "phoenix"
    concurrency = 4

    def __init__(
        self,
        address: Address,
        *,
        clock: Clock | None = None,
        timeout_s: float = TIMEOUT_S,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        base, _, project = address.base.rpartition("/")
        self.at = address.at
        self.form = PhoenixForm()
        self._project = unquote(project)
        self._projects: list[str] = []
        self._asker = Asker(
            replace(address, base=base), self.concurrency, clock=clock, timeout_s=timeout_s, deadline_s=deadline_s
        )

    @property
    def calls(self) -> int:
        """Return the number of requests so far."""
        return self._asker.calls

    async def read(self, trace_id: str, start_ns: int) -> bytes:  # noqa: ARG002  of the protocol
        """Return the spans of the trace in the first project that has any. Raises a `DestinationError`."""
        if self._project:
            found = await self._spans(self._project, trace_id)
            if found is None:
                raise self._asker.failed(f"Phoenix has no project {self._project!r}", _PROJECT_HINT)
            return found
        asked: set[str] = set()
        for known in (True, False):
            projects = list(self._projects) if known else await self._list_projects()
            for project in projects:
                if project not in asked:
                    asked.add(project)
                    found = await self._spans(project, trace_id)
                    if found:
                        self._put_first(project)
                        return found
        return b""

    async def aclose(self) -> None:
        """Close the connections."""
        await self._asker.aclose()

    def _put_first(self, project: str) -> None:
        self._projects = [project, *(one for one in self._projects if one != project)]

    async def _list_projects(self) -> list[str]:
        """Return the ids of all projects, and remember them."""
        listed = await self._rows("/v1/projects", _PROJECT_PAGE, [], "the projects", lambda row: str(row["id"]))
        if listed is None:
            raise self._asker.failed("HTTP 404: there is no API of Phoenix: it has no /v1/projects")
        self._projects = [one for one in self._projects if one in listed] + [
            one for one in listed if one not in self._projects
        ]
        return self._projects

    async def _spans(self, project: str, trace_id: str) -> bytes | None:
        """Return the spans of a trace in a project, ``None`` if there is no such project."""
        path = f"/v1/projects/{quote(project, safe='')}/spans"
        rows = await self._rows(path, _PAGE, [("trace_id", trace_id)], f"trace {trace_id}", _span)
        if rows is None:
            return None
        spans = [span for span in rows if span.trace_id.hex() == trace_id]
        data = TracesData(resource_spans=[ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])] if spans else [])
        return data.SerializeToString()

    async def _rows(
        self, path: str, page: int, query: list[tuple[str, str]], what: str, read: Callable[[dict[str, Any]], T]
    ) -> list[T] | None:
        """Return the rows of all pages as ``read`` does, ``None`` for a 404. Raises `TraceNotReturned` for too many."""
        rows: list[T] = []
        cursors: set[str] = set()
        more: list[tuple[str, str]] = []
        size = 0
        while True:
            found = await self._asker.get(
                path, [*query, ("limit", str(page)), *more], partial(_page, read), accept=_JSON, what=what
            )
            if found is None:
                return None
            listed, cursor, page_bytes = found
            rows += listed
            size += page_bytes
            if cursor is None:
                return rows
            if cursor in cursors or size > MAX_BODY_BYTES:
                reason = "its pages repeat" if cursor in cursors else f"it has more than {MAX_BODY_BYTES >> 20} MiB"
                raise self._asker.address.failed(TraceNotReturned, f"{what}: {reason}", "look at it in Phoenix")
            cursors.add(cursor)
            more = [("cursor", cursor)]


def _page(read: Callable[[dict[str, Any]], T], response: Response) -> tuple[list[T], str | None, int] | None:
    """Return the rows of a page, the cursor of the next, and the size; ``None`` for a 404."""
    if response.status == 404:
        return None
    said = decode_json(response.body)
    try:
        rows = list(map(read, said["data"]))
        cursor = said.get("next_cursor")
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise NotOtlp(f"it is not Phoenix's form: {type(error).__name__}: {error}") from None
    return rows, None if cursor is None else str(cursor), len(response.body)


def _span(row: dict[str, Any]) -> Span:
    """Return a span as a message. The kind of OpenInference, which the API shows apart, becomes an attribute."""
    return Span(
        trace_id=id_bytes(row["context"]["trace_id"], 16),
        span_id=id_bytes(row["context"]["span_id"], 8),
        parent_span_id=id_bytes(row.get("parent_id"), 8),
        name=row.get("name") or "",
        start_time_unix_nano=_ns(row["start_time"]),
        end_time_unix_nano=_ns(row["end_time"]),
        attributes=key_values({**(row.get("attributes") or {}), SPAN_KIND: row.get("span_kind")}),
        events=_events(row.get("events") or ()),
        status=Status(
            code=Status.StatusCode.Value(f"STATUS_CODE_{row.get('status_code') or 'UNSET'}"),
            message=row.get("status_message") or "",
        ),
    )


def _events(rows: Iterable[dict[str, Any]]) -> Iterable[Span.Event]:
    return [
        Span.Event(
            name=row.get("name") or "",
            time_unix_nano=_ns(row["timestamp"]),
            attributes=key_values(row.get("attributes") or {}),
        )
        for row in rows
    ]


def _ns(text: str) -> int:
    return datetime_ns(datetime.fromisoformat(text))
