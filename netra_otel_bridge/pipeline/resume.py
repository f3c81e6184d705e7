"""Resume points of span streams, and the tokens that carry them to the client and back."""

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
_CHECKSUM_BYTES = 6
Count = Annotated[int, msgspec.Meta(ge=0)]


class ResumePoint(msgspec.Struct, frozen=True, array_like=True):
    """The point up to which a stream was sent.

    ``stream_id`` identifies the stream. ``start_ns`` and ``end_ns`` are its window.

    ``part`` counts the entries of ``TraceQuery.trace_ids`` that are done. ``cursor`` is that of the current page; its
    first ``passed`` traces, whose ids are hashed in ``passed_ids``, were sent whole. ``last_id`` is the trace that was
    sent last, and every trace that starts before ``before_ns`` was sent; these show what was sent if the page has
    changed. Of the trace ``next_id``, the first ``sent`` spans, whose ids are hashed in ``sent_ids``, were sent.
    """

    stream_id: str
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

    def after(self, trace_id: str) -> ResumePoint:
        """Return the point after a trace that is not on the page."""
        return msgspec.structs.replace(self, last_id=trace_id, next_id="", sent=0, sent_ids="")

    def after_listed(self, page: Sequence[TraceSummary], index: int) -> ResumePoint:
        """Return the point after one trace of the page.

        Netra may list the traces of a page in any order, so ``before_ns`` does not pass the start of any trace
        that is still to be sent.
        """
        starts_ns = [ns for trace in page[index:] if (ns := instant_ns(trace.start_time)) is not None]
        known_ns = [] if self.before_ns is None else [self.before_ns]
        return msgspec.structs.replace(
            self.after(page[index].id),
            passed=index + 1,
            passed_ids=_hash(trace.id for trace in page[: index + 1]),
            before_ns=max([*known_ns, min(starts_ns)]) if starts_ns else self.before_ns,
        )

    def at_page(self, cursor: str | None) -> ResumePoint:
        """Return this point at the beginning of the page of this cursor."""
        return msgspec.structs.replace(self, cursor=cursor, passed=0, passed_ids="")

    def at_part(self, part: int) -> ResumePoint:
        """Return the point before this entry of the query."""
        return ResumePoint(self.stream_id, self.start_ns, self.end_ns, part)

    def within(self, trace_id: str, span_ids: Sequence[str]) -> ResumePoint:
        """Return the point after the first spans of a trace, which have these ids. ``self`` is the point before it."""
        return msgspec.structs.replace(self, next_id=trace_id, sent=len(span_ids), sent_ids=_hash(span_ids))

    def passed_on(self, page: Sequence[TraceSummary]) -> int:
        """Return how many traces of the current page were sent; 0 if these have changed."""
        same = self.passed_ids == _hash(trace.id for trace in page[: self.passed])
        return self.passed if same and self.passed <= len(page) else 0

    def sent_of(self, trace_id: str, span_ids: Sequence[str]) -> int:
        """Return how many spans of a trace were sent; 0 if these have changed."""
        same = self.next_id == trace_id and self.sent_ids == _hash(span_ids[: self.sent])
        return self.sent if same and self.sent <= len(span_ids) else 0

    def has_passed(self, trace: TraceSummary) -> bool:
        """Return whether a trace was sent, by its start. Of several with the same start, only the last one is known."""
        start_ns = instant_ns(trace.start_time)
        is_before = start_ns is not None and self.before_ns is not None and start_ns < self.before_ns
        return is_before or trace.id == self.last_id


def start_point(stream_id: str, window: Window) -> ResumePoint:
    """Return the point at the beginning of a stream."""
    return ResumePoint(stream_id, window.start_ns, window.end_ns)


def encode_token(point: ResumePoint) -> str:
    """Return a resume point as printable text, with a checksum that detects damage."""
    body = bytes([_VERSION]) + msgspec.json.encode(point)
    return _text(_checksum(body) + body)


def decode_token(text: str, stream_id: str) -> ResumePoint:
    """Return the resume point of a token. Raises `UsageError` if it is not a token of the stream ``stream_id``."""
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raw = b""
    body = raw[_CHECKSUM_BYTES:]
    if not body or raw[:_CHECKSUM_BYTES] != _checksum(body) or _text(raw) != text:
        raise _no_token()
    if body[0] != _VERSION:
        raise UsageError(
            "this resume token was issued by another version of the bridge",
            hint="resume with the version that issued it, or read from the start",
        )
    try:
        point = msgspec.json.decode(body[1:], type=ResumePoint)
        iso_ms(point.start_ns)
        iso_ms(point.end_ns)
    except (msgspec.DecodeError, ValueError, OverflowError, OSError):
        raise _no_token() from None
    if point.stream_id != stream_id or point.start_ns >= point.end_ns:
        raise UsageError(
            "this resume token belongs to another request",
            hint="pass the range, query, profile and Netra address of the first call",
        )
    return point


def _no_token() -> UsageError:
    return UsageError("this is not a resume token", hint="pass the token of the last response unchanged")


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _checksum(body: bytes) -> bytes:
    return blake2b(body, digest_size=_CHECKSUM_BYTES).digest()


def _hash(ids: Iterable[str]) -> str:
    return blake2b("\n".join(ids).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
