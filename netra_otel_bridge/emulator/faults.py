"""Faults on request, for tests: each takes the place of an answer, changes it, or spoils how it is sent.

``--fault NAME`` or ``--fault NAME=ARG``. Faults touch the reads of the Netra API, never ingest. Several apply in the
order given; each counts for itself the calls that reach it, so ``status-500=2`` then ``status-429=3`` is two of the
one and then three of the other. `FAULTS` is the table of all of them. Where the argument is a number N of answers,
leaving it out means every answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.emulator.routes import Route
from netra_otel_bridge.emulator.wire import to_json_bytes

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, before it is sent."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", JSON),)


@dataclass(frozen=True, slots=True)
class Call:
    """The request that is being answered: which call it is, its path and cursor."""

    route: Route
    path: str
    cursor: str | None
    request: web.BaseRequest

    @property
    def name(self) -> str:
        """The call's name: ``traces``, ``spans``, ..."""
        return self.route.name


class Fault:
    """Base of all faults: does nothing. A fault overrides one of the four steps; ``page`` edits a page in place."""

    def instead(self, _call: Call, /) -> Answer | None:
        """An answer to give without asking the API."""
        return None

    def page(self, _call: Call, _page: dict[str, Any], /) -> None:
        """Change ``{"data": {"data": [...], "pageInfo": {...}}}``. Asked only if overridden."""

    def alter(self, _call: Call, answer: Answer, /) -> Answer:
        """Change the finished answer."""
        return answer

    async def send(self, _call: Call, _answer: Answer, /) -> web.StreamResponse | None:
        """Send it in some other way; ``None`` leaves it to the server."""
        return None


class FirstN(Fault):
    """A fault of the first ``n`` calls that reach it (all of them when ``None``)."""

    def __init__(self, n: int | None) -> None:
        self._left = n

    def strikes(self) -> bool:
        if self._left is None:
            return True
        self._left -= 1
        return self._left >= 0


@dataclass(frozen=True, slots=True)
class FaultEntry:
    """A row of the table: what the fault does, and how it is made from its argument."""

    doc: str
    make: Callable[[str | None], Fault]


class Faults:
    """The faults in force, as the server applies them."""

    def __init__(self, names: Sequence[str], table: dict[str, FaultEntry]) -> None:
        self._faults = [_make(name, table) for name in names]
        self._pages = [fault for fault in self._faults if type(fault).page is not Fault.page]

    def __bool__(self) -> bool:
        return bool(self._faults)

    def instead(self, call: Call) -> Answer | None:
        for fault in self._faults:
            answer = fault.instead(call)
            if answer is not None:
                return answer
        return None

    def alter(self, call: Call, answer: Answer) -> Answer:
        if self._pages and answer.status == 200 and call.name in ("traces", "spans"):
            document = json.loads(answer.body)
            for fault in self._pages:
                fault.page(call, document)
            answer = replace(answer, body=to_json_bytes(document))
        for fault in self._faults:
            answer = fault.alter(call, answer)
        return answer

    async def send(self, call: Call, answer: Answer) -> web.StreamResponse | None:
        for fault in self._faults:
            response = await fault.send(call, answer)
            if response is not None:
                return response
        return None


def _make(text: str, table: dict[str, FaultEntry]) -> Fault:
    name, equals, argument = text.partition("=")
    entry = table.get(name)
    if entry is None:
        raise UsageError(f"--fault {name}: there is no such fault", hint=f"known: {', '.join(sorted(table))}")
    try:
        return entry.make(argument if equals else None)
    except ValueError as error:
        raise UsageError(f"--fault {text}: {error}", hint=entry.doc) from error


def whole_number(argument: str | None, default: int | None = None) -> int | None:
    """The argument as a number of at least zero. Raises `ValueError` that says so."""
    if argument is None:
        return default
    if not (argument.isascii() and argument.isdigit()):
        raise ValueError(f"{argument!r} is not a whole number")
    return int(argument)


def error_body(status: int, message: str) -> bytes:
    """The error shape that the SDKs read."""
    return to_json_bytes({"error": {"code": status, "message": message}})
