"""`FAULTS`, the table of the faults, and those that change what is answered (`fault_wire`: how it is sent)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from netra_otel_bridge.emulator import fault_wire
from netra_otel_bridge.emulator.faults import Answer, Call, Fault, FaultEntry, FirstN, error_body, whole_number
from netra_otel_bridge.emulator.routes import DASHBOARD, USAGE
from netra_otel_bridge.emulator.wire import to_json_bytes

_LOGIN = b"<!doctype html><html><head><title>Sign in</title></head><body><form>Sign in to continue</form></body></html>"
_BROKEN_EVERY = 10


class Status(FirstN):
    """An error status."""

    def __init__(self, status: int, n: int | None) -> None:
        super().__init__(n)
        self._status = status

    def instead(self, _call: Call, /) -> Answer | None:
        return Answer(self._status, error_body(self._status, "injected")) if self.strikes() else None


class RetryAfter(Fault):
    """A ``Retry-After`` header, as it is given, on every 429 and 503."""

    def __init__(self, value: str) -> None:
        self._value = value

    def alter(self, _call: Call, answer: Answer, /) -> Answer:
        if answer.status not in (429, 503):
            return answer
        others = tuple(header for header in answer.headers if header[0] != "Retry-After")
        return replace(answer, headers=(*others, ("Retry-After", self._value)))


class UnauthorizedAfter(Fault):
    """The key is revoked after some calls."""

    def __init__(self, n: int) -> None:
        self._left = n

    def instead(self, _call: Call, /) -> Answer | None:
        self._left -= 1
        return None if self._left >= 0 else Answer(401, error_body(401, "the API key has been revoked"))


class Fixed(FirstN):
    """One and the same answer to everything."""

    def __init__(self, answer: Answer, n: int | None) -> None:
        super().__init__(n)
        self._answer = answer

    def instead(self, _call: Call, /) -> Answer | None:
        return self._answer if self.strikes() else None


class TruncatedJson(FirstN):
    """Sound HTTP around half a document."""

    def alter(self, _call: Call, answer: Answer, /) -> Answer:
        return replace(answer, body=answer.body[: len(answer.body) // 2]) if self.strikes() else answer


class EditPage(FirstN):
    """A page changed by a function."""

    def __init__(self, edit: Callable[[dict[str, Any]], None], n: int | None) -> None:
        super().__init__(n)
        self._edit = edit

    def page(self, _call: Call, page: dict[str, Any], /) -> None:
        if self.strikes():
            self._edit(page)


class CursorLoop(Fault):
    """After ``length`` pages of a list the cursors come round again; the list then never ends."""

    def __init__(self, length: int) -> None:
        if length < 1:
            raise ValueError("the cycle needs a length of at least 1")
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
    """The n-th request with a cursor is refused, and only that one."""

    def __init__(self, n: int) -> None:
        self._left = n

    def instead(self, call: Call, /) -> Answer | None:
        if call.cursor is None:
            return None
        self._left -= 1
        return Answer(400, error_body(400, "the cursor has expired")) if self._left == 0 else None


class BadSpanJson(Fault):
    """Every tenth span has an ``attributes`` text that is cut in half: always the same spans."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def page(self, _call: Call, page: dict[str, Any], /) -> None:
        for item in page["data"]["data"]:
            if isinstance(item.get("attributes"), str):
                number = self._numbers.setdefault(item["id"], len(self._numbers))
                if number % _BROKEN_EVERY == 0:
                    item["attributes"] = item["attributes"][: len(item["attributes"]) // 2]


class NoDashboard(Fault):
    """The key, or the installation, does without the dashboard calls."""

    def __init__(self, status: int) -> None:
        if not 400 <= status <= 599:
            raise ValueError("a refusal has a status from 400 to 599")
        self._status = status

    def instead(self, call: Call, /) -> Answer | None:
        refused = call.name in DASHBOARD
        return Answer(self._status, error_body(self._status, "the dashboard is not allowed")) if refused else None


class UsageFactor(Fault):
    """Usage calls answer so many times what was used: below 1, what they said before shrinks."""

    def __init__(self, factor: float) -> None:
        if not (math.isfinite(factor) and factor >= 0):
            raise ValueError("it needs a number of at least 0")
        self._factor = factor

    def alter(self, call: Call, answer: Answer, /) -> Answer:
        if call.name not in USAGE or answer.status != 200:
            return answer
        document = json.loads(answer.body)
        figures = document["data"]
        for name in ("tokenCount", "requestsCount"):
            figures[name] = round(figures[name] * self._factor)
        figures["totalCost"] *= self._factor
        return replace(answer, body=to_json_bytes(document))


def _empty(page: dict[str, Any]) -> None:
    page["data"] = {"data": [], "pageInfo": {"hasNextPage": True}}


def _has_next_string(page: dict[str, Any]) -> None:
    info = page["data"]["pageInfo"]
    info["hasNextPage"] = "true" if info["hasNextPage"] else "false"


def _has_next_missing(page: dict[str, Any]) -> None:
    page["data"]["pageInfo"] = {}


def _wrong_shape(page: dict[str, Any]) -> None:
    page["data"] = page["data"]["data"]


def _bad_item(page: dict[str, Any]) -> None:
    page["data"]["data"][:0] = [42, "not an object"]


def _reorder(page: dict[str, Any]) -> None:
    items = page["data"]["data"]
    if items:
        cursors = [item["cursor"] for item in items]
        items.reverse()
        items[-1]["cursor"] = cursors[-1]


def _status(status: int) -> FaultEntry:
    return FaultEntry(f"=N: the first N calls are answered {status}", lambda a: Status(status, whole_number(a)))


def _edit(doc: str, edit: Callable[[dict[str, Any]], None]) -> FaultEntry:
    return FaultEntry(f"=N: {doc}, on the first N pages", lambda a: EditPage(edit, whole_number(a)))


def _given(argument: str | None) -> str:
    if not argument:
        raise ValueError("it needs an argument")
    return argument


def _html(argument: str | None) -> Fault:
    return Fixed(Answer(200, _LOGIN, (("Content-Type", "text/html"),)), whole_number(argument))


def _redirect(argument: str | None) -> Fault:
    return Fixed(Answer(302, b"", (("Location", _given(argument)),)), None)


FAULTS: dict[str, FaultEntry] = {
    **{f"status-{status}": _status(status) for status in (400, 401, 403, 404, 408, 429, 500, 502, 503, 504)},
    "retry-after": FaultEntry("=VALUE: that Retry-After header on each 429 and 503", lambda a: RetryAfter(_given(a))),
    "unauthorized-after": FaultEntry(
        "=N: 401 to everything after N calls", lambda a: UnauthorizedAfter(whole_number(a, 0) or 0)
    ),
    "html": FaultEntry("=N: 200 with a login page", _html),
    "redirect": FaultEntry("=URL: 302 to that address, always", _redirect),
    "truncated-json": FaultEntry("=N: sound HTTP, half a document", lambda a: TruncatedJson(whole_number(a))),
    "cursor-loop": FaultEntry(
        "=LEN: cursors cycle with that length (1)", lambda a: CursorLoop(whole_number(a, 1) or 0)
    ),
    "cursor-expired": FaultEntry(
        "=N: the N-th (first) request with a cursor is answered 400", lambda a: CursorExpired(whole_number(a, 1) or 1)
    ),
    "empty-page-has-next": _edit("no items, yet hasNextPage is true", _empty),
    "has-next-string": _edit("hasNextPage is text", _has_next_string),
    "has-next-missing": _edit("pageInfo is empty", _has_next_missing),
    "wrong-shape": _edit("data is a list", _wrong_shape),
    "bad-item": _edit("a number and a text precede the items", _bad_item),
    "reorder": _edit("items stand in reverse, the last still carrying the page's cursor", _reorder),
    "no-dashboard": FaultEntry(
        "=STATUS: every dashboard call is refused (403)", lambda a: NoDashboard(whole_number(a, 403) or 0)
    ),
    "usage-factor": FaultEntry("=F: usage calls answer F times what was used", lambda a: UsageFactor(float(_given(a)))),
    "bad-span-json": FaultEntry("every tenth span's attributes are broken JSON", lambda _: BadSpanJson()),
    **fault_wire.FAULTS,
}
