"""`FAULTS` has every fault by name, with its help text.

``N`` is a number of responses; without it, the fault applies to all responses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from netra_otel_bridge.emulator import answer_faults, transport_faults
from netra_otel_bridge.emulator.faults import Answer, Fault, FaultEntry, whole_number

_SLOW_S = 0.4
_BOMB_MIB = 1024


def _status(status: int) -> FaultEntry:
    return FaultEntry(
        f"=N: answer the first N calls with {status}", lambda a: answer_faults.Status(status, whole_number(a))
    )


def _edit(doc: str, edit: Callable[[dict[str, Any]], None]) -> FaultEntry:
    return FaultEntry(f"=N: {doc}", lambda a: answer_faults.EditPage(edit, whole_number(a)))


def _required(argument: str | None) -> str:
    if not argument:
        raise ValueError("it needs an argument")
    return argument


def _seconds(argument: str | None) -> float:
    return _SLOW_S if argument is None else float(argument)


def _shift(argument: str) -> tuple[float, int]:
    seconds, _, every = argument.partition(",")
    return float(seconds), max(1, whole_number(every or None, 1) or 1)


def _html(argument: str | None) -> Fault:
    login = Answer(200, answer_faults.LOGIN_PAGE, (("Content-Type", "text/html"),))
    return answer_faults.Fixed(login, whole_number(argument))


def _redirect(argument: str | None) -> Fault:
    return answer_faults.Fixed(Answer(302, b"", (("Location", _required(argument)),)), None)


FAULTS: dict[str, FaultEntry] = {
    **{f"status-{status}": _status(status) for status in (400, 401, 403, 404, 408, 429, 500, 502, 503, 504)},
    "retry-after": FaultEntry(
        "=VALUE: send this Retry-After header with each 429 and 503", lambda a: answer_faults.RetryAfter(_required(a))
    ),
    "unauthorized-after": FaultEntry(
        "=N: answer 401 to everything after N calls",
        lambda a: answer_faults.UnauthorizedAfter(whole_number(a, 0) or 0),
    ),
    "html": FaultEntry("=N: answer 200 with a login page", _html),
    "redirect": FaultEntry("=URL: always answer 302 to that address", _redirect),
    "truncated-json": FaultEntry(
        "=N: send half a document in a valid HTTP response", lambda a: answer_faults.TruncatedJson(whole_number(a))
    ),
    "cursor-loop": FaultEntry(
        "=LEN: repeat the cursors after LEN pages (1), so that the list never ends",
        lambda a: answer_faults.CursorLoop(whole_number(a, 1) or 0),
    ),
    "cursor-expired": FaultEntry(
        "=N: answer 400 to the N-th (first) request with a cursor",
        lambda a: answer_faults.CursorExpired(whole_number(a, 1) or 1),
    ),
    "empty-page-has-next": _edit("make the first N pages empty and say that there are more", answer_faults.empty_page),
    "has-next-string": _edit("make hasNextPage text on the first N pages", answer_faults.has_next_as_text),
    "has-next-missing": _edit("make pageInfo empty on the first N pages", answer_faults.no_page_info),
    "wrong-shape": _edit("make data a list on the first N pages", answer_faults.data_as_list),
    "bad-item": _edit("put a number and a text before the items of the first N pages", answer_faults.bad_items),
    "reorder": _edit("reverse the items on the first N pages", answer_faults.reversed_items),
    "no-dashboard": FaultEntry(
        "=STATUS: reject every dashboard call, with 403 or this status",
        lambda a: answer_faults.NoDashboard(whole_number(a, 403) or 0),
    ),
    "usage-factor": FaultEntry(
        "=F: multiply the results of the usage calls by F", lambda a: answer_faults.UsageFactor(float(_required(a)))
    ),
    "bad-span-json": FaultEntry(
        "give every tenth span broken JSON as attributes", lambda _: answer_faults.BadSpanJson()
    ),
    "date": FaultEntry(
        "=SECONDS[,N]: shift the Date header by a day, or this much, in every answer, or every N-th",
        lambda a: answer_faults.Date(*_shift(a or "86400")),
    ),
    "cut-body": FaultEntry(
        "=N: close the connection in the middle of the body", lambda a: transport_faults.CutBody(whole_number(a))
    ),
    "reset": FaultEntry("=N: reset the connection before answering", lambda a: transport_faults.Reset(whole_number(a))),
    "hang": FaultEntry("=N: do not answer for an hour", lambda a: transport_faults.Hang(whole_number(a))),
    "slow-body": FaultEntry(
        "=SECONDS: send one byte every 0.4 s, or at this interval", lambda a: transport_faults.SlowBody(_seconds(a))
    ),
    "huge-body": FaultEntry(
        "=BYTES: send a body of this size, or an endless one", lambda a: transport_faults.HugeBody(whole_number(a))
    ),
    "gzip": FaultEntry(
        "=N: compress answers for clients that accept it", lambda a: transport_faults.Gzip(whole_number(a))
    ),
    "gzip-cut": FaultEntry(
        "=N: compress the answer and cut it in the middle",
        lambda a: transport_faults.Gzip(whole_number(a), cut_half=True),
    ),
    "gzip-trailer-cut": FaultEntry(
        "=N: compress the answer and drop the last four bytes",
        lambda a: transport_faults.Gzip(whole_number(a), cut_trailer=True),
    ),
    "gzip-bomb": FaultEntry(
        "=MIB: send this many MiB (1024) of blanks, compressed",
        lambda a: transport_faults.GzipBomb(whole_number(a, _BOMB_MIB) or 1),
    ),
    "encoding": FaultEntry("=NAME: claim this Content-Encoding (br)", lambda a: transport_faults.Encoding(a or "br")),
}
