"""Where a stream of spans is, and the token that says so: what was sent lies before the place, the rest behind it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Annotated

import msgspec

from netra_otel_bridge.convert import instant_ns
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.netra import TraceSummary
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import iso_ms

_VERSION = 1
_CHECK_BYTES = 6
Count = Annotated[int, msgspec.Meta(ge=0)]


class ResumePoint(msgspec.Struct, frozen=True, array_like=True):
    """Where a stream is. ``of`` tells streams apart, ``start_ns`` and ``end_ns`` are its window.

    ``part`` counts the entries of ``TraceQuery.trace_ids`` that are done. The stream is on the page that Netra gives for
    ``cursor``: the first ``passed`` traces of it were sent whole, whose ids are hashed in ``passed_ids``. ``last_id`` is
    the trace sent last, and every trace that starts before ``before_ns`` was sent; these tell what was sent where the
    page is not the same any more. Of the trace ``next_id``, the first ``sent`` spans were sent, whose ids are hashed in ``sent_ids``.
    """

    of: str
    start_ns: int
    end_ns: int
    part: Count = 0
    cursor: str | None = None
    passed: Count = 0
    passed_ids: str = ""
    last_id: str = ""
    before_ns: int | None = None
    next_id: str = ""
    sent: Count = 0
    sent_ids: str = ""

    def behind(self, trace_id: str) -> ResumePoint:
        """The place behind a trace that is not one of the page."""
        return msgspec.structs.replace(self, last_id=trace_id, next_id="", sent=0, sent_ids="")

    def behind_on(self, page: Sequence[TraceSummary], index: int) -> ResumePoint:
        """The place behind this trace of the page.

        Netra may give the traces of a page in any order: what starts before all that are still to be sent was sent.
        """
        starts_ns = [ns for trace in page[index:] if (ns := instant_ns(trace.start_time)) is not None]
        known_ns = [] if self.before_ns is None else [self.before_ns]
        return msgspec.structs.replace(
            self.behind(page[index].id),
            passed=index + 1,
            passed_ids=_hash(trace.id for trace in page[: index + 1]),
            before_ns=max([*known_ns, min(starts_ns)]) if starts_ns else self.before_ns,
        )

    def at_page(self, cursor: str | None) -> ResumePoint:
        """The same place, before the page of this cursor."""
        return msgspec.structs.replace(self, cursor=cursor, passed=0, passed_ids="")

    def at_part(self, part: int) -> ResumePoint:
        """The place before this entry of the query."""
        return ResumePoint(self.of, self.start_ns, self.end_ns, part)

    def within(self, trace_id: str, span_ids: Sequence[str]) -> ResumePoint:
        """The place behind the first spans of a trace, those with these ids; ``self`` is that before the trace."""
        return msgspec.structs.replace(self, next_id=trace_id, sent=len(span_ids), sent_ids=_hash(span_ids))

    def passed_on(self, page: Sequence[TraceSummary]) -> int:
        """How many traces of the page at this place were sent; none, if they are not the same any more."""
        same = self.passed_ids == _hash(trace.id for trace in page[: self.passed])
        return self.passed if same and self.passed <= len(page) else 0

    def sent_of(self, trace_id: str, span_ids: Sequence[str]) -> int:
        """How many spans of a trace were sent; none, if they are not the same any more."""
        same = self.next_id == trace_id and self.sent_ids == _hash(span_ids[: self.sent])
        return self.sent if same and self.sent <= len(span_ids) else 0

    def has_passed(self, trace: TraceSummary) -> bool:
        """Whether a trace was sent, by its start; of those with one start, that is known only of the last one."""
        starts_ns = instant_ns(trace.start_time)
        early = starts_ns is not None and self.before_ns is not None and starts_ns < self.before_ns
        return early or trace.id == self.last_id


def first_place(of: str, window: Window) -> ResumePoint:
    """The beginning of a stream."""
    return ResumePoint(of, window.start_ns, window.end_ns)


def token(place: ResumePoint) -> str:
    """A place as a text that travels anywhere; a check sum finds what was damaged on the way."""
    body = bytes([_VERSION]) + msgspec.json.encode(place)
    return _text(_check(body) + body)


def place(text: str, of: str) -> ResumePoint:
    """The inverse of `token`. Raises `UsageError` for what is no token of the stream ``of``."""
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    body = raw[_CHECK_BYTES:]
    if not body or raw[:_CHECK_BYTES] != _check(body) or _text(raw) != text:
        raise _no_token()
    if body[0] != _VERSION:
        raise UsageError(
            "this resume token is of another version of the bridge",
            hint="go on with the version that gave it, or read from the start",
        )
    try:
        found = msgspec.json.decode(body[1:], type=ResumePoint)
        iso_ms(found.start_ns)
        iso_ms(found.end_ns)
    except (msgspec.DecodeError, ValueError, OverflowError, OSError):
        raise _no_token() from None
    if found.of != of or found.start_ns >= found.end_ns:
        raise UsageError(
            "this resume token is that of another request",
            hint="range, query, profile and Netra's address must be those of the first call",
        )
    return found


def _no_token() -> UsageError:
    return UsageError("this is not a resume token", hint="give the one of the last response as it came")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _check(body: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECK_BYTES).digest()


def _hash(ids: Iterable[str]) -> str:
    return blake2b("\n".join(ids).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
