"""Inject faults, for tests: each replaces a response, changes it, or interferes with sending it.

Faults are selected with ``--fault NAME`` or ``--fault NAME=ARG``. They affect only reading calls of the Netra API,
never ingestion. Several faults apply in the given order, and each counts the calls that reach it: ``status-500=2`` then
``status-429=3`` answers two calls with 500 and the next three with 429. `fault_table` lists all faults.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aiohttp import web

from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.emulator.api_format import to_json_bytes
from netra_otel_bridge.emulator.routes import Route

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response before it is sent."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", JSON),)


@dataclass(frozen=True, slots=True)
class Call:
    """The request that is being answered: its route, path and cursor."""

    route: Route
    path: str
    cursor: str | None
    request: web.BaseRequest

    @property
    def name(self) -> str:
        """Return the name of the call: ``traces``, ``spans``, ..."""
        return self.route.name


class Fault:
    """Base class of faults, without an effect of its own. A fault overrides one of its four methods."""

    def instead(self, _call: Call, /) -> Answer | None:
        """Return a response that replaces the API's; ``None`` lets the API respond."""
        return None

    def page(self, _call: Call, _page: dict[str, Any], /) -> None:
        """Edit a page in place: ``{"data": {"data": [...], "pageInfo": {...}}}``. Called only if overridden."""

    def alter(self, _call: Call, answer: Answer, /) -> Answer:
        """Return the response, changed or not."""
        return answer

    async def send(self, _call: Call, _answer: Answer, /) -> web.StreamResponse | None:
        """Send the response in a faulty way; ``None`` lets the server send it."""
        return None


class FirstN(Fault):
    """A fault that applies to the first ``n`` calls that reach it, or to all (``None``)."""

    def __init__(self, n: int | None) -> None:
        self._left = n

    def strikes(self) -> bool:
        """Count a call; return whether the fault applies to it."""
        if self._left is None:
            return True
        self._left -= 1
        return self._left >= 0


@dataclass(frozen=True, slots=True)
class FaultEntry:
    """A row of the fault table: the help text, and a function that makes the fault from its argument."""

    doc: str
    make: Callable[[str | None], Fault]


class Faults:
    """Applies the active faults for the server."""

    def __init__(self, names: Sequence[str], table: dict[str, FaultEntry]) -> None:
        self._faults = [_make(name, table) for name in names]
        self._pages = [fault for fault in self._faults if type(fault).page is not Fault.page]

    def __bool__(self) -> bool:
        return bool(self._faults)

    def instead(self, call: Call) -> Answer | None:
        """Return the response of the first fault that replaces the API's, or ``None``."""
        for fault in self._faults:
            answer = fault.instead(call)
            if answer is not None:
                return answer
        return None

    def alter(self, call: Call, answer: Answer) -> Answer:
        """Return the response after all faults have edited it."""
        if self._pages and answer.status == 200 and call.name in ("traces", "spans"):
            document = json.loads(answer.body)
            for fault in self._pages:
                fault.page(call, document)
            answer = replace(answer, body=to_json_bytes(document))
        for fault in self._faults:
            answer = fault.alter(call, answer)
        return answer

    async def send(self, call: Call, answer: Answer) -> web.StreamResponse | None:
        """Send the response with the first fault that interferes with sending; return ``None`` if none does."""
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
    """Return the argument as a number of at least zero, or the default. Raises `ValueError`."""
    if argument is None:
        return default
    if not (argument.isascii() and argument.isdigit()):
        raise ValueError(f"{argument!r} is not a whole number")
    return int(argument)


def error_body(status: int, message: str) -> bytes:
    """Return an error document in the shape that the SDKs expect."""
    return to_json_bytes({"error": {"code": status, "message": message}})
