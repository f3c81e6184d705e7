"""What a destination's answer means: the one table from status codes and words to an `Outcome`.

A code alone does not say whether to wait, to split or to give up. ``RESOURCE_EXHAUSTED`` is both "too large" and
"slow down"; HTTP 400 is both "poisoned" and "body too large"; ``UNAVAILABLE`` is both "down" and "this certificate
is not trusted". Where two meanings share a code the words decide. Sources: the OTLP specification ("Failures"),
and what Jaeger, the Collector and Tempo answer ("What they answer" in ``docs/backends.md``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import Enum, auto

from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # googleapis-common-protos has no types
from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]  # googleapis-common-protos has no types
from grpc import StatusCode

from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    PartlyRefused,
    Refused,
    Retry,
    TooLarge,
)

_SECRET_CHARS = 4
MAX_REASON_CHARS = 400
"""A server may answer with a whole web page; one line of it is enough to act on."""


class Verdict(Enum):
    """What to do after an answer that is not a yes."""

    RETRY = auto()
    TOO_LARGE = auto()
    REFUSED = auto()
    MISCONFIGURED = auto()
    UNAUTHORIZED = auto()


_GRPC = {
    StatusCode.CANCELLED: Verdict.RETRY,
    StatusCode.DEADLINE_EXCEEDED: Verdict.RETRY,
    StatusCode.ABORTED: Verdict.RETRY,
    StatusCode.OUT_OF_RANGE: Verdict.RETRY,
    StatusCode.UNAVAILABLE: Verdict.RETRY,
    StatusCode.DATA_LOSS: Verdict.RETRY,
    StatusCode.RESOURCE_EXHAUSTED: Verdict.RETRY,
    StatusCode.UNKNOWN: Verdict.RETRY,
    StatusCode.INTERNAL: Verdict.REFUSED,
    StatusCode.INVALID_ARGUMENT: Verdict.REFUSED,
    StatusCode.FAILED_PRECONDITION: Verdict.REFUSED,
    StatusCode.ALREADY_EXISTS: Verdict.REFUSED,
    StatusCode.NOT_FOUND: Verdict.MISCONFIGURED,
    StatusCode.UNIMPLEMENTED: Verdict.MISCONFIGURED,
    StatusCode.UNAUTHENTICATED: Verdict.UNAUTHORIZED,
    StatusCode.PERMISSION_DENIED: Verdict.UNAUTHORIZED,
}
_MAYBE_TOO_LARGE = (StatusCode.RESOURCE_EXHAUSTED, StatusCode.OUT_OF_RANGE)
"""What grpc answers to a large message; ``OUT_OF_RANGE`` in Rust."""
_HTTP = {
    400: Verdict.REFUSED,
    401: Verdict.UNAUTHORIZED,
    403: Verdict.UNAUTHORIZED,
    404: Verdict.MISCONFIGURED,
    405: Verdict.MISCONFIGURED,
    407: Verdict.UNAUTHORIZED,
    408: Verdict.RETRY,
    410: Verdict.MISCONFIGURED,
    413: Verdict.TOO_LARGE,
    415: Verdict.MISCONFIGURED,
    421: Verdict.MISCONFIGURED,
    425: Verdict.RETRY,
    426: Verdict.MISCONFIGURED,
    429: Verdict.RETRY,
    501: Verdict.MISCONFIGURED,
    505: Verdict.MISCONFIGURED,
}
_TOO_LARGE = re.compile(
    r"larger than (the )?(max|limit)|(message|body|request|payload|entity)( length)?( is)? too large"
    r"|exceeds (max_request_size|(the )?maximum (configured message )?size)",
    re.I,
)
"""In the words of grpc in Go, C++, Java, .NET and Rust, of ``net/http``, and of the stock exporters."""
_SLOW_DOWN = re.compile(r"RATE_LIMITED|rate.?limit|too many|quota|throttl|memory", re.I)
GRPC_MESSAGE_BYTES = 4 << 20
"""What a gRPC server takes by default."""
_NAMED_LIMIT = re.compile(
    r"(?:larger than max \(\d+ vs\.?|larger than max|exceeds maximum size|the limit is:) (\d+)", re.I
)
_OVER_RATE = re.compile(r"(?:burst:|rate limit \() ?(\d+) bytes\) (?:exceeded )?while adding (\d+) bytes")
"""Tempo's rate limit, and what it was asked to add: more than the limit never passes, however long one waits."""
_TOO_MANY_TRACES = re.compile(r"LIVE_TRACES_EXCEEDED")
TOO_MANY_TRACES_S = 5.0
"""Tempo 1.5 holds so many traces at a time, each for 10 to 20 s; the default five waits are to outlast that."""
_FULL_TRACE = re.compile(r"TRACE_TOO_LARGE")
_TLS = re.compile(
    r"CERTIFICATE_|certificate (verify|has expired|is not)|SSLCertVerification|not in peer certificate"
    r"|hostname (mismatch|verification)|wrong_version_number|handshake failure|http1\.x server|TSI_|request to an HTTPS server",
    re.I,
)
_TRANSPORT_BROKE = re.compile(r"RST_STREAM|socket closed|connection reset|stream removed|GOAWAY", re.I)
_CUT = re.compile(
    r"ServerDisconnectedError|ClientConnectionResetError|connection reset|broken pipe|socket closed|RST_STREAM", re.I
)
_NOT_CONNECTED = re.compile(r"no connection to|no TLS with|failed to connect", re.I)
_WORDS: tuple[tuple[re.Pattern[str], Verdict], ...] = (
    (re.compile(r"Failed to encode span batch"), Verdict.REFUSED),
    (_TOO_LARGE, Verdict.TOO_LARGE),
    (re.compile(r"RESOURCE_EXHAUSTED|RATE_LIMITED|LIVE_TRACES_EXCEEDED|too many requests|\b(429|503)\b", re.I), Verdict.RETRY),
    (re.compile(r"UNAUTHENTICATED|PERMISSION_DENIED|unauthorized|forbidden|\b(401|403)\b", re.I), Verdict.UNAUTHORIZED),
    (_TLS, Verdict.MISCONFIGURED),
    (re.compile(r"UNIMPLEMENTED|redirect|\b(404|405)\b"), Verdict.MISCONFIGURED),
    (re.compile(r"UNAVAILABLE|DEADLINE_EXCEEDED|timed? ?out|refused|connection", re.I), Verdict.RETRY),
    (re.compile(r"INVALID_ARGUMENT|FAILED_PRECONDITION|TRACE_TOO_LARGE|\b(code|status)\W{1,3}400\b"), Verdict.REFUSED),
)  # fmt: skip


def outcome(verdict: Verdict, reason: str, after_s: float | None = None) -> Outcome:
    """The outcome for a verdict; ``after_s`` counts for `Retry` alone. The reason is cut to one short line."""
    line = one_line(reason)
    match verdict:
        case Verdict.RETRY:
            return Retry(line, after_s)
        case Verdict.TOO_LARGE:
            return TooLarge(line)
        case Verdict.REFUSED:
            return Refused(line)
        case Verdict.MISCONFIGURED:
            return Misconfigured(line)
        case Verdict.UNAUTHORIZED:
            return Misconfigured(line, unauthorized=True)


def one_line(text: str) -> str:
    """Words of others as a message may show them: one short line, what is not printable (``ESC``, bidi) escaped."""
    line = " ".join(text.split())
    if not line.isprintable():
        line = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)
    return line if len(line) <= MAX_REASON_CHARS else line[: MAX_REASON_CHARS - 1] + "…"


def raised(error: BaseException) -> str:
    """What an exception of foreign code is called and says; it may not even be able to say it."""
    try:
        words = str(error)
    except Exception:  # noqa: BLE001  the wall around foreign code
        words = ""
    return one_line(f"{type(error).__name__}: {words}" if words else type(error).__name__)


def grpc_outcome(code: StatusCode, details: str, after_s: float | None = None, sent_bytes: int = 0) -> Outcome:
    """A gRPC status that is not OK, for a message of ``sent_bytes`` (0 where that is not known).

    ``after_s`` is its ``RetryInfo``, which makes ``RESOURCE_EXHAUSTED`` a wait, unless more was sent than the rate limit
    ever lets pass. Without one it is "too large" where the words say so, or where they say nothing and the message is
    larger than gRPC servers take by default.
    """
    verdict = _GRPC.get(code, Verdict.RETRY)
    if _TOO_MANY_TRACES.search(details):
        verdict, after_s = Verdict.RETRY, after_s or TOO_MANY_TRACES_S
    elif code in _MAYBE_TOO_LARGE:
        verdict = Verdict.TOO_LARGE if _is_too_large(details, after_s, sent_bytes) else Verdict.RETRY
    elif code in (StatusCode.UNAVAILABLE, StatusCode.UNKNOWN) and _TLS.search(details):
        verdict = Verdict.MISCONFIGURED
    elif code is StatusCode.INTERNAL and _TRANSPORT_BROKE.search(details):
        verdict = Verdict.RETRY
    elif code is StatusCode.UNKNOWN and re.search(r"http2 header with status: 3\d\d", details):
        verdict = Verdict.MISCONFIGURED
    return outcome(verdict, f"{code.name}: {details}" if details else code.name, after_s)


def _is_too_large(words: str, after_s: float | None, sent_bytes: int) -> bool:
    if _never_passes(words):
        return True
    silent_and_large = sent_bytes > GRPC_MESSAGE_BYTES and not _SLOW_DOWN.search(words)
    return after_s is None and (_TOO_LARGE.search(words) is not None or silent_and_large)


def http_outcome(status: int, body: bytes, content_type: str, after_s: float | None = None) -> Outcome:
    """An HTTP answer outside 200 to 299. ``body`` may be a ``google.rpc.Status``, as OTLP asks of servers, or any text.

    A server that wraps a gRPC status in a 500 (Tempo 1.5: poisoned spans, rate limits) is taken by that status.
    """
    said = _rpc_status(body) if "protobuf" in content_type else None
    words = said.message if said is not None else body[:4096].decode("utf-8", "replace")
    reason = f"HTTP {status}: {words}" if words.strip() else f"HTTP {status}"
    if status == 400 and _TLS.search(words):
        return outcome(Verdict.MISCONFIGURED, reason)
    if (status in (400, 413) and _TOO_LARGE.search(words)) or (status == 429 and _never_passes(words)):
        return outcome(Verdict.TOO_LARGE, reason)
    if status == 500 and said is not None:
        code = next((c for c in StatusCode if c.value[0] == said.code), StatusCode.UNKNOWN)
        wrapped = grpc_outcome(code, said.message, after_s)
        return wrapped if not isinstance(wrapped, Misconfigured) else outcome(Verdict.RETRY, reason, after_s)
    if status in _HTTP:
        return outcome(_HTTP[status], reason, after_s)
    if 300 <= status < 400:
        return outcome(Verdict.MISCONFIGURED, f"HTTP {status}: a redirect, which is not followed")
    return outcome(Verdict.RETRY if status >= 500 else Verdict.REFUSED, reason, after_s)


def _never_passes(words: str) -> bool:
    """Whether a rate limit says that one request asked for more than it ever grants."""
    found = _OVER_RATE.search(words)
    return found is not None and int(found[2]) > int(found[1])


def web_page_outcome(status: int, content_type: str) -> Outcome:
    """A 2xx whose body is a web page: a login page or a proxy stands where the destination should be."""
    return outcome(Verdict.MISCONFIGURED, f"HTTP {status} with {content_type}: a web page answers, not an OTLP server")


def not_otlp_outcome(answer: bytes) -> Outcome:
    """A yes whose body is no ``ExportTraceServiceResponse``: something else than an OTLP server takes the requests."""
    return outcome(Verdict.MISCONFIGURED, f"the answer is not OTLP: {answer[:80].decode('utf-8', 'replace')!r}")


def partial_outcome(refused: int, reason: str, secrets: Iterable[str]) -> Outcome:
    """A yes with ``partial_success``; with no span refused its message is a warning."""
    line = one_line(reason)
    if refused > 0:
        return PartlyRefused(refused, line or "the destination gave no reason")
    return Delivered(_without(secrets, line))


def shown(answer: Outcome) -> Outcome:
    """The outcome as messages may show it, where somebody else wrote its words."""
    if isinstance(answer, Delivered):
        return replace(answer, warning=one_line(answer.warning))
    return replace(answer, reason=one_line(answer.reason))


def masked(answer: Outcome, secrets: Iterable[str]) -> Outcome:
    """The outcome with ``***`` for every secret in its reason: a server may repeat the key that it refuses."""
    if isinstance(answer, Delivered):
        return answer
    reason = _without(secrets, answer.reason)
    return answer if reason == answer.reason else replace(answer, reason=reason)


def _without(secrets: Iterable[str], text: str) -> str:
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def header_secrets(headers: Mapping[str, str]) -> tuple[str, ...]:
    """What of headers must never be shown: each value, and the token behind a scheme such as ``Bearer``."""
    parts = (part for value in headers.values() for part in (value, value.rpartition(" ")[2]))
    return tuple(part for part in parts if len(part) >= _SECRET_CHARS)


def connection_outcome(words: str) -> Outcome:
    """No answer at all: refused, reset, timed out are waited for; a failed TLS handshake or no HTTP at all is not."""
    if words.startswith("BadStatusLine"):
        return outcome(Verdict.MISCONFIGURED, "what answers does not speak HTTP; a gRPC port takes otlp+grpc://")
    return outcome(Verdict.MISCONFIGURED if _TLS.search(words) else Verdict.RETRY, words)


def words_outcome(words: str) -> Outcome:
    """The words of an exporter, where nothing else is known; without a known word, `Retry`: nothing is given up."""
    verdict = next((verdict for pattern, verdict in _WORDS if pattern.search(words)), Verdict.RETRY)
    return outcome(verdict, words)


def named_limit_bytes(reason: str, sent_bytes: int) -> int | None:
    """The size to stay below that a "too large" names: 1/64 less than its limit, for what a proxy adds.

    ``None`` where it names none that is below the ``sent_bytes`` that were refused.
    """
    found = _NAMED_LIMIT.search(reason) or _OVER_RATE.search(reason)
    limit = int(found[1]) if found else 0
    return limit - limit // 64 if 0 < limit < sent_bytes else None


def is_cut(reason: str) -> bool:
    """Whether a connection that was there ended without an answer: so some proxies treat what is too large for them."""
    return _CUT.search(reason) is not None and _NOT_CONNECTED.search(reason) is None


def names_full_trace(reason: str) -> bool:
    """Whether a refusal is about the size that one trace has at the destination, and not about a span of it.

    Tempo 1.5 says so (``TRACE_TOO_LARGE``); what more comes of that trace is refused too, while it is live there.
    """
    return _FULL_TRACE.search(reason) is not None


def retry_info_s(metadata: dict[str, str | bytes]) -> float | None:
    """The wait in seconds that a gRPC answer asks for: ``RetryInfo`` in its status details (trailing metadata)."""
    status = _rpc_status(_bytes(metadata.get("grpc-status-details-bin")))
    if status is not None:
        for detail in status.details:
            info = RetryInfo()
            if detail.Is(RetryInfo.DESCRIPTOR) and detail.Unpack(info):
                return max(0.0, float(info.retry_delay.seconds) + float(info.retry_delay.nanos) / 1e9)
    return None


def _rpc_status(body: bytes) -> RpcStatus | None:
    """The ``google.rpc.Status`` in ``body``, if there is one that says something."""
    status = RpcStatus()
    try:
        status.ParseFromString(body)
    except DecodeError:
        return None
    return status if status.code or status.message else None


def _bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""
