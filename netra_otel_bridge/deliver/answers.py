"""Turn a destination's response into an `Outcome`: the only table of status codes, and the only parser of messages.

A code alone does not say whether to wait, to split or to give up. ``RESOURCE_EXHAUSTED`` is both "too large" and "slow
down"; HTTP 400 is both "poisoned" and "body too large"; ``UNAVAILABLE`` is both "down" and "this certificate is not
trusted". Where two meanings share a code, the server's message decides. Everything that is read from messages (limits,
causes, hints) becomes a field of the outcome here. Sources: the OTLP specification ("Failures"), and the responses of
Jaeger, the Collector and Tempo ("What they answer" in ``docs/backends.md``).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable
from dataclasses import replace
from enum import Enum, auto

from grpc import StatusCode

from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    PartlyRefused,
    Refused,
    RejectionCause,
    Retry,
    TooLarge,
)
from netra_otel_bridge.core.outside_text import error_words, safe_line
from netra_otel_bridge.deliver.rpc_status import rpc_status


class Verdict(Enum):
    """The consequence of a response that is not a success."""

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
"""The codes with which gRPC rejects a large message; ``OUT_OF_RANGE`` in Rust."""
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
_BUSY_STATUS = (408, 425, 429, 503)
_MAX_DIGITS = 19
GRPC_MESSAGE_BYTES = 4 << 20
"""Maximum size of a message that a gRPC server accepts by default."""
TOO_MANY_TRACES_S = 5.0
"""Delay in seconds if Tempo 1.5 holds too many traces.

It holds each for 10 to 20 s, which the default five delays must outlast.
"""

TOO_LARGE = re.compile(
    r"larger than (the )?(max|limit)|(message|body|request|payload|entity)( length)?( is)? too large"
    r"|exceeds (max_request_size|(the )?maximum (configured message )?size)",
    re.I,
)
"""Messages of gRPC in Go, C++, Java, .NET and Rust, of ``net/http``, and of the stock exporters."""
MAX_WORDS = 16_384
"""Maximum characters of a server's message that are read."""
_NAMED_LIMIT = re.compile(
    r"(?:larger than max \(\d+ vs\.?|larger than max|exceeds maximum size|the limit is:) (\d+)", re.I
)
_OVER_RATE = re.compile(r"(?:burst:|rate limit \() ?(\d+) bytes\) (?:exceeded )?while adding (\d+) bytes")
"""Tempo's rate limit, and the size of the request: a request above the limit never passes, however long one waits."""
_SLOW_DOWN = re.compile(r"RATE_LIMITED|rate.?limit|too many|quota|throttl|memory", re.I)
_TOO_MANY_TRACES = re.compile(r"LIVE_TRACES_EXCEEDED")
FULL_TRACE = re.compile(r"TRACE_TOO_LARGE")
"""Tempo 1.5: the trace has reached its size limit, and its further spans are rejected while it is live there."""
TLS = re.compile(
    r"CERTIFICATE_|certificate (verify|has expired|is not)|SSLCertVerification|not in peer certificate"
    r"|hostname (mismatch|verification)|wrong_version_number|handshake failure|http1\.x server|TSI_|request to an HTTPS server",
    re.I,
)
_TRANSPORT_BROKE = re.compile(r"RST_STREAM|socket closed|connection reset|stream removed|GOAWAY", re.I)
_CUT = re.compile(
    r"ServerDisconnectedError|ClientConnectionResetError|connection reset|broken pipe|socket closed|RST_STREAM", re.I
)
_NOT_CONNECTED = re.compile(r"failed to connect", re.I)
_ENDED_SILENTLY = re.compile(r"failed to connect.*(socket closed|connection reset)", re.I)
BUSY = re.compile(r"RESOURCE_EXHAUSTED|RATE_LIMITED")
_CLIENT_CERTIFICATE_HINT = (
    "it requires a client certificate: set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and _CLIENT_KEY to its files"
)
_CERTIFICATE_HINTS = (
    (
        re.compile(r"local issuer|issuer certificate|self.signed", re.I),
        "set OTEL_EXPORTER_OTLP_CERTIFICATE to the PEM file of the CA to trust",
    ),
    (
        re.compile(r"has expired|not yet valid", re.I),
        "its certificate is not valid now: renew it, or correct the wrong clock",
    ),
    (
        re.compile(r"mismatch|hostname verification|not in peer certificate|not valid for", re.I),
        "its certificate is for another host: use a name that the certificate contains",
    ),
    (re.compile(r"CERTIFICATE_REQUIRED", re.I), _CLIENT_CERTIFICATE_HINT),
)
UNREACHABLE_HINT = "check that it is running, that this is its address, and whether it requires TLS"
BUSY_HINT = "try again later"
_FAILS_HINT = "it responds but fails: see its log"
_ADDRESS_HINT = "check the address, the protocol (grpc or http), and TLS"
CREDENTIALS_HINT = "set OTEL_EXPORTER_OTLP_HEADERS, or ask its operator for access"
_HEADER_HINT = "it does not accept spans like these, or requires a header that OTEL_EXPORTER_OTLP_HEADERS can set"
_WANTS_SPANS = (IndexError, ValueError, TypeError, ZeroDivisionError, AssertionError, StopIteration)
"""Exceptions that code may raise only because it received no span."""


def outcome(verdict: Verdict, reason: str, after_s: float | None = None, *, hint: str = "") -> Outcome:
    """Return the outcome for a verdict, without parsing ``reason``. ``after_s`` applies only to `Retry`."""
    match verdict:
        case Verdict.RETRY:
            return Retry(reason, after_s, hint=hint)
        case Verdict.TOO_LARGE:
            return TooLarge(reason, hint=hint)
        case Verdict.REFUSED:
            return Refused(reason, hint=hint)
        case Verdict.MISCONFIGURED:
            return Misconfigured(reason, hint=hint)
        case Verdict.UNAUTHORIZED:
            return Misconfigured(reason, unauthorized=True, hint=hint)


def judged(
    verdict: Verdict, words: str, after_s: float | None = None, hint: str = "", connected: bool = True
) -> Outcome:
    """Return the outcome for a verdict, with details parsed from the ``words`` of a server or a library.

    ``hint`` is for `Retry` and `Refused`; ``connected`` is false if there was no connection to cut.
    """
    match verdict:
        case Verdict.RETRY:
            cut = connected and _CUT.search(words) is not None and not _NOT_CONNECTED.search(words)
            return Retry(words, after_s, cut, hint)
        case Verdict.TOO_LARGE:
            return TooLarge(words, _named_limit(words))
        case Verdict.REFUSED:
            return Refused(words, _cause(words), hint)
        case Verdict.MISCONFIGURED:
            known = (advice for pattern, advice in _CERTIFICATE_HINTS if pattern.search(words))
            return Misconfigured(words, hint=next(known, _ADDRESS_HINT))
        case Verdict.UNAUTHORIZED:
            return Misconfigured(words, unauthorized=True, hint=CREDENTIALS_HINT)


def grpc_outcome(code: StatusCode, details: str, after_s: float | None = None, sent_bytes: int = 0) -> Outcome:
    """Return the outcome of a gRPC status that is not OK, for a message of ``sent_bytes`` (0 if that is not known).

    ``after_s`` is its ``RetryInfo``, which makes ``RESOURCE_EXHAUSTED`` a `Retry`, unless more was sent than the rate
    limit ever allows. Without ``RetryInfo`` it is `TooLarge` if the words say so, or if they say nothing and the
    message is larger than gRPC servers accept by default.
    """
    details = details[:MAX_WORDS]
    verdict = _GRPC.get(code, Verdict.RETRY)
    is_busy = code is StatusCode.RESOURCE_EXHAUSTED or BUSY.search(details) is not None
    if _TOO_MANY_TRACES.search(details):
        verdict, after_s, is_busy = Verdict.RETRY, after_s or TOO_MANY_TRACES_S, True
    elif code in _MAYBE_TOO_LARGE:
        verdict = Verdict.TOO_LARGE if _is_too_large(details, after_s, sent_bytes) else Verdict.RETRY
    elif code in (StatusCode.UNAVAILABLE, StatusCode.UNKNOWN) and TLS.search(details):
        verdict = Verdict.MISCONFIGURED
    elif code is StatusCode.INTERNAL and _TRANSPORT_BROKE.search(details):
        verdict = Verdict.RETRY
    elif code is StatusCode.UNKNOWN and re.search(r"http2 header with status: 3\d\d", details):
        verdict = Verdict.MISCONFIGURED
    hint = "" if verdict is Verdict.REFUSED else BUSY_HINT if is_busy else UNREACHABLE_HINT
    return judged(verdict, f"{code.name}: {details}" if details else code.name, after_s, hint)


def _is_too_large(words: str, after_s: float | None, sent_bytes: int) -> bool:
    if _never_passes(words):
        return True
    silent_and_large = sent_bytes > GRPC_MESSAGE_BYTES and not _SLOW_DOWN.search(words)
    return after_s is None and (TOO_LARGE.search(words) is not None or silent_and_large)


def http_outcome(status: int, body: bytes, content_type: str, after_s: float | None = None) -> Outcome:
    """Return the outcome of an HTTP status outside 200 to 299.

    ``body`` may be a ``google.rpc.Status``, as OTLP requires of servers, or any text.

    Where a server wraps a gRPC status in a 500 (Tempo 1.5: poisoned spans, rate limits), that status counts.
    """
    said = rpc_status(body) if "protobuf" in content_type else None
    words = said.message[:MAX_WORDS] if said is not None else body[:MAX_WORDS].decode("utf-8", "replace")
    reason = f"HTTP {status}: {words}" if words.strip() else f"HTTP {status}"
    is_busy = status in _BUSY_STATUS or BUSY.search(words) is not None
    if status == 400 and TLS.search(words):
        return judged(Verdict.MISCONFIGURED, reason)
    if (status in (400, 413) and TOO_LARGE.search(words)) or (status == 429 and _never_passes(words)):
        return judged(Verdict.TOO_LARGE, reason)
    if status == 500 and said is not None:
        code = next((c for c in StatusCode if c.value[0] == said.code), StatusCode.UNKNOWN)
        wrapped = grpc_outcome(code, said.message, after_s)
        if not isinstance(wrapped, Misconfigured):
            return wrapped
    if 300 <= status < 400:
        return judged(Verdict.MISCONFIGURED, f"HTTP {status}: a redirect, which is not followed")
    verdict = _HTTP.get(status, Verdict.RETRY if status >= 500 else Verdict.REFUSED)
    retry_hint = BUSY_HINT if is_busy else _FAILS_HINT
    hint = retry_hint if verdict is Verdict.RETRY else _HEADER_HINT if 400 <= status < 500 else ""
    if status == 500 and not is_busy and after_s is None:
        return Retry(reason, hint=hint, answered=True)
    return judged(verdict, reason, after_s, hint)


def _never_passes(words: str) -> bool:
    """Return whether a rate limit says that one request exceeds the whole limit."""
    found = _OVER_RATE.search(words)
    return found is not None and _number(found[2]) > _number(found[1])


def _named_limit(words: str) -> int | None:
    found = _NAMED_LIMIT.search(words) or _OVER_RATE.search(words)
    return _number(found[1]) if found else None


def _number(digits: str) -> int:
    """Return a number of bytes; one with thousands of digits, which ``int`` rejects, is as good as the largest."""
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) < _MAX_DIGITS else 10**_MAX_DIGITS


def _cause(words: str) -> RejectionCause:
    return "full trace" if FULL_TRACE.search(words) else "span"


def web_page_outcome(status: int, content_type: str) -> Outcome:
    """Return the outcome of a 2xx with a web page: a login page or a proxy has answered instead of the destination."""
    reason = f"HTTP {status} with {content_type}: a web page, not the response of an OTLP server"
    return outcome(Verdict.MISCONFIGURED, reason, hint=_ADDRESS_HINT)


def not_otlp_outcome(answer: bytes) -> Outcome:
    """Return the outcome of a success without an ``ExportTraceServiceResponse``: the server is not an OTLP server."""
    reason = f"the response is not OTLP: {answer.decode('utf-8', 'replace')}"
    return outcome(Verdict.MISCONFIGURED, reason, hint=_ADDRESS_HINT)


def partial_outcome(refused: int, reason: str) -> Outcome:
    """Return the outcome of a success with ``partial_success``; if no span is rejected, its message is a warning."""
    reason = reason[:MAX_WORDS]
    if refused > 0:
        return PartlyRefused(refused, reason.strip() or "the destination gave no reason", _cause(reason))
    return Delivered(reason)


def connection_outcome(words: str, *, connected: bool = True) -> Outcome:
    """Return the outcome of a request without a response: wait, unless TLS failed or the server does not speak HTTP.

    ``connected`` is false if there was no connection yet.
    """
    if words.startswith("BadStatusLine"):
        reason = "the server does not speak HTTP; for a gRPC port write otlp+grpc://"
        return outcome(Verdict.MISCONFIGURED, reason, hint=_ADDRESS_HINT)
    verdict = Verdict.MISCONFIGURED if TLS.search(words) else Verdict.RETRY
    return judged(verdict, words, hint=UNREACHABLE_HINT, connected=connected)


def ended_silently(words: str) -> bool:
    """Return whether gRPC only says that a new connection was ended, as servers do to reject a certificate."""
    return _ENDED_SILENTLY.search(words) is not None


def is_tls_version(error: ssl.SSLError) -> bool:
    """Return whether TLS failed because the server does not speak the version that was offered."""
    return "PROTOCOL" in str(error)


def client_certificate_outcome(address: str) -> Outcome:
    """Return the outcome of a server that ends new connections because it accepts none without a client certificate."""
    reason = f"no TLS with {address}: CERTIFICATE_REQUIRED, or the client's certificate is rejected"
    return outcome(Verdict.MISCONFIGURED, reason, hint=_CLIENT_CERTIFICATE_HINT)


def no_answer(who: str, seconds: float) -> Retry:
    """Return the outcome of a request or call that did not end in time. ``who`` is the beginning of the message."""
    return Retry(f"{who} within {seconds:g} s", hint=UNREACHABLE_HINT)


def defect_outcome(who: str, error: BaseException) -> Refused:
    """Return the outcome of an exception in code outside the bridge; one span in the batch may have caused it."""
    words = error_words(error)
    cause = _cause(words)
    if cause == "span" and type(error) not in _WANTS_SPANS:
        cause = "defect"
    return Refused(f"{who} raised {words}", cause)


def shown(answer: Outcome, secrets: Iterable[str] = ()) -> Outcome:
    """Return the outcome with each of its texts safe to show (`safe_line`): a server may repeat the key that it rejects.

    The texts of all other functions here are uncut, because a secret that is cut can no longer be found. A destination
    calls this last.
    """
    secrets = tuple(secrets)
    if isinstance(answer, Delivered):
        if not answer.warning:
            return answer
        return replace(answer, warning=safe_line(answer.warning, secrets))
    return replace(answer, reason=safe_line(answer.reason, secrets), hint=safe_line(answer.hint, secrets))
