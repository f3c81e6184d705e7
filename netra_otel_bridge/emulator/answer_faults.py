"""Faults that change a response before it is sent. `transport_faults` has those in sending it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from typing import Any

from netra_otel_bridge.emulator.api_format import to_json_bytes
from netra_otel_bridge.emulator.faults import Answer, Call, Fault, FirstN, error_body
from netra_otel_bridge.emulator.routes import DASHBOARD, USAGE

LOGIN_PAGE = (
    b"<!doctype html><html><head><title>Sign in</title></head><body><form>Sign in to continue</form></body></html>"
)
_BROKEN_EVERY = 10


class Status(FirstN):
    """Answers with an error status."""

    def __init__(self, status: int, n: int | None) -> None:
        super().__init__(n)
        self._status = status

    def instead(self, _call: Call, /) -> Answer | None:
        return Answer(self._status, error_body(self._status, "injected")) if self.strikes() else None


class RetryAfter(Fault):
    """Sends this ``Retry-After`` header with every 429 and 503."""

    def __init__(self, value: str) -> None:
        self._value = value

    def alter(self, _call: Call, answer: Answer, /) -> Answer:
        if answer.status not in (429, 503):
            return answer
        others = tuple(header for header in answer.headers if header[0] != "Retry-After")
        return replace(answer, headers=(*others, ("Retry-After", self._value)))


class Date(Fault):
    """Shifts the ``Date`` header by ``shift_s``, in every ``every``-th response."""

    def __init__(self, shift_s: float, every: int) -> None:
        self._shift_s = shift_s
        self._every = every
        self._calls = 0

    def alter(self, _call: Call, answer: Answer, /) -> Answer:
        self._calls += 1
        if self._calls % self._every:
            return answer
        date = formatdate(time.time() + self._shift_s, usegmt=True)
        return replace(answer, headers=(*answer.headers, ("Date", date)))


class UnauthorizedAfter(Fault):
    """Revokes the key after ``n`` calls."""

    def __init__(self, n: int) -> None:
        self._left = n

    def instead(self, _call: Call, /) -> Answer | None:
        self._left -= 1
        return None if self._left >= 0 else Answer(401, error_body(401, "the API key has been revoked"))


class Fixed(FirstN):
    """Returns the same response to every call."""

    def __init__(self, answer: Answer, n: int | None) -> None:
        super().__init__(n)
        self._answer = answer

    def instead(self, _call: Call, /) -> Answer | None:
        return self._answer if self.strikes() else None


class TruncatedJson(FirstN):
    """Sends half a document in a valid HTTP response."""

    def alter(self, _call: Call, answer: Answer, /) -> Answer:
        return replace(answer, body=answer.body[: len(answer.body) // 2]) if self.strikes() else answer


class EditPage(FirstN):
    """Edits a page with a function."""

    def __init__(self, edit: Callable[[dict[str, Any]], None], n: int | None) -> None:
        super().__init__(n)
        self._edit = edit

    def page(self, _call: Call, page: dict[str, Any], /) -> None:
        if self.strikes():
            self._edit(page)


class CursorLoop(Fault):
    """Repeats the cursors after ``length`` pages, so that the list never ends."""

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError("the length must be at least 1")
        self._length = length
        self._seen: dict[str, list[str]] = {}
        self._items: dict[str, list[Any]] = {}
        self._served: dict[str, int] = {}

    def page(self, call: Call, page: dict[str, Any], /) -> None:
        items = page["data"]["data"] = page["data"]["data"] or self._items.get(call.path, [])
        if not items:
            return
        self._items[call.path] = items
        seen = self._seen.setdefault(call.path, [])
        number = self._served[call.path] = self._served.get(call.path, -1) + 1
        if len(seen) < self._length:
            seen.append(items[-1]["cursor"])
        items[-1]["cursor"] = seen[number % len(seen)]
        page["data"]["pageInfo"]["hasNextPage"] = True


class CursorExpired(Fault):
    """Rejects the n-th request with a cursor, and only that one."""

    def __init__(self, n: int) -> None:
        self._left = n

    def instead(self, call: Call, /) -> Answer | None:
        if call.cursor is None:
            return None
        self._left -= 1
        return Answer(400, error_body(400, "the cursor has expired")) if self._left == 0 else None


class BadSpanJson(Fault):
    """Cuts the ``attributes`` text of every tenth span in half, always for the same spans."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def page(self, _call: Call, page: dict[str, Any], /) -> None:
        for item in page["data"]["data"]:
            if isinstance(item.get("attributes"), str):
                number = self._numbers.setdefault(item["id"], len(self._numbers))
                if number % _BROKEN_EVERY == 0:
                    item["attributes"] = item["attributes"][: len(item["attributes"]) // 2]


class NoDashboard(Fault):
    """Rejects the dashboard calls, as for a key or an instance without them."""

    def __init__(self, status: int) -> None:
        if not 400 <= status <= 599:
            raise ValueError("the status must be from 400 to 599")
        self._status = status

    def instead(self, call: Call, /) -> Answer | None:
        is_dashboard = call.name in DASHBOARD
        return Answer(self._status, error_body(self._status, "the dashboard is not allowed")) if is_dashboard else None


class UsageFactor(Fault):
    """Multiplies the results of usage calls. A factor below 1 makes totals shrink."""

    def __init__(self, factor: float) -> None:
        if not (math.isfinite(factor) and factor >= 0):
            raise ValueError("the factor must be a number of at least 0")
        self._factor = factor

    def alter(self, call: Call, answer: Answer, /) -> Answer:
        if call.name not in USAGE or answer.status != 200:
            return answer
        document = json.loads(answer.body)
        totals = document["data"]
        for name in ("tokenCount", "requestsCount"):
            totals[name] = round(totals[name] * self._factor)
        totals["totalCost"] *= self._factor
        return replace(answer, body=to_json_bytes(document))


def empty_page(page: dict[str, Any]) -> None:
    """Remove the items and say that there are more."""
    page["data"] = {"data": [], "pageInfo": {"hasNextPage": True}}


def has_next_as_text(page: dict[str, Any]) -> None:
    """Turn ``hasNextPage`` into text."""
    info = page["data"]["pageInfo"]
    info["hasNextPage"] = "true" if info["hasNextPage"] else "false"


def no_page_info(page: dict[str, Any]) -> None:
    """Empty ``pageInfo``."""
    page["data"]["pageInfo"] = {}


def data_as_list(page: dict[str, Any]) -> None:
    """Turn ``data`` into a list."""
    page["data"] = page["data"]["data"]


def bad_items(page: dict[str, Any]) -> None:
    """Put a number and a text before the items."""
    page["data"]["data"][:0] = [42, "not an object"]


def reversed_items(page: dict[str, Any]) -> None:
    """Reverse the items; the last one keeps the cursor of the page."""
    items = page["data"]["data"]
    if items:
        cursors = [item["cursor"] for item in items]
        items.reverse()
        items[-1]["cursor"] = cursors[-1]
