"""What an answer, or the lack of one, means: the one place where statuses and socket errors become typed errors.

A `Failure` says which error to raise if no attempt is left, and whether another attempt makes sense. Whatever a
server sends is made one printable line and stripped of secrets before it becomes part of a message.
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, replace

import aiohttp

from netra_otel_bridge.core.errors import (
    NetraError,
    NetraNotAllowed,
    NetraNotFound,
    NetraRateLimited,
    NetraRejected,
    NetraUnauthorized,
    NetraUnavailable,
    NetraUntrusted,
)

MESSAGE_CHARS = 300
"""Of a server's own words, at most."""
SECRET_CHARS = 6
_CHECK_ENDPOINT = "check NETRA_OTLP_ENDPOINT: it is Netra's address, as netra-sdk uses it"
_CHECK_KEY = "check NETRA_API_KEY: is it of this installation, and still valid?"
_WAIT_OR_CHECK = "is Netra up, and NETRA_OTLP_ENDPOINT right?"
_DO_WITHOUT = "this key or installation does not have the dashboard calls; the usage calls do without"
_TRANSIENT_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that gave nothing to use. ``tries`` bounds the attempts of this kind, if not the back-off does."""

    kind: type[NetraError]
    cause: str
    hint: str = ""
    status: int | None = None
    retry: bool = False
    tries: int | None = None
    asked_s: float | None = None

    def error(self, what: str, host: str, attempts: int) -> NetraError:
        """The one line to raise: what, where, after how many attempts, why."""
        after = f" after {attempts} attempts" if attempts > 1 else ""
        return self.kind(f"{what} at {host} failed{after}: {self.cause}", hint=self.hint, status=self.status)


def judge_status(status: int, words: str, location: str, asked_s: float | None) -> Failure | None:
    """The failure that a status means; ``None`` for 2xx. ``words`` is the server's message, already one safe line."""
    said = f"HTTP {status}{': ' + words if words else ''}"
    if 200 <= status < 300:
        return None
    if status in {401, 403}:
        return Failure(NetraUnauthorized, said, _CHECK_KEY, status)
    if status in {404, 405}:
        return Failure(NetraNotFound, said, _CHECK_ENDPOINT, status)
    if status < 400:
        to = f" to {location}" if location else ""
        return Failure(NetraNotFound, f"HTTP {status}, a redirect{to}; none is followed", _CHECK_ENDPOINT, status)
    if asked_s is not None and (status == 429 or status >= 500):
        said += f" (it asks to wait {asked_s:.0f} s)"
    if status == 429:
        return Failure(
            NetraRateLimited, said, "try again later, or set a lower rate", status, retry=True, asked_s=asked_s
        )
    if status == 408 or status >= 500:
        return Failure(NetraUnavailable, said, "try again later", status, retry=True, asked_s=asked_s)
    return Failure(NetraRejected, said, status=status)


def web_page(status: int) -> Failure:
    """The failure that a web page in place of JSON means: a login page, a proxy, another server."""
    return Failure(NetraNotFound, f"HTTP {status} with a web page, not the Netra API", _CHECK_ENDPOINT, status)


def of_optional_call(failure: Failure) -> Failure:
    """The same failure of a call that not every key or installation answers: a refusal is no fault of the key."""
    if failure.kind in {NetraUnauthorized, NetraNotFound}:
        return replace(failure, kind=NetraNotAllowed, hint=_DO_WITHOUT)
    return failure


def looks_like_web_page(content_type: str, body: bytes) -> bool:
    """Whether an answer is HTML, by its label or, JSON never starting so, by its first character."""
    return content_type.startswith("text/html") or body[:64].lstrip()[:1] == b"<"


def timed_out(timeout_s: float, *, optional: bool = False) -> Failure:
    """The failure of a request that was not answered completely by its deadline."""
    return Failure(
        NetraUnavailable,
        f"no complete answer within {timeout_s:g} s",
        "ask for a shorter range of time" if optional else "NETRA_USAGE_TIMEOUT sets the seconds allowed",
        retry=True,
    )


def judge_exception(error: aiohttp.ClientError | OSError) -> Failure:
    """The failure that a network or HTTP error means; not for the deadline, see `timed_out`."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        detail = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
        return Failure(
            NetraUntrusted, f"its TLS certificate is not accepted ({detail})", "add its CA, or correct the host name"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ssl.SSLError) and not isinstance(error.os_error, _TRANSIENT_TLS):
            return Failure(NetraUntrusted, f"TLS cannot be set up ({error.os_error.reason})", "does it speak https?")
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return _unreached("its name cannot be resolved", _CHECK_ENDPOINT)
        detail = error.os_error.strerror or type(error.os_error).__name__
        return _unreached(f"no connection ({detail})", _WAIT_OR_CHECK)
    if isinstance(error, TimeoutError):
        return _unreached("no connection in time", _WAIT_OR_CHECK)
    if isinstance(error, aiohttp.ClientPayloadError):
        return _unreached("the answer was cut off", "try again later")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return _unreached("the connection was closed before an answer came", "try again later")
    if isinstance(error, aiohttp.ClientResponseError):
        return _unreached("the answer is not HTTP", _CHECK_ENDPOINT)
    detail = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    return _unreached(f"the connection broke ({detail})", "try again later")


def _unreached(cause: str, hint: str) -> Failure:
    return Failure(NetraUnavailable, cause, hint, retry=True)


class Redactor:
    """Makes text of any origin fit for a message: one printable line, bounded, without the secrets it was given.

    A secret of several words (``Bearer abc``) hides each of them, too; what is shorter than `SECRET_CHARS` is none.
    """

    def __init__(self, *secrets: str) -> None:
        parts = {part for secret in secrets for part in (secret, *secret.split()) if len(part) >= SECRET_CHARS}
        self._secrets = sorted(parts, key=len, reverse=True)

    def line(self, text: str, limit: int = MESSAGE_CHARS) -> str:
        """``text`` without line ends, control characters and secrets, at most ``limit`` characters."""
        clean = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        for secret in self._secrets:
            clean = clean.replace(secret, "***")
        return clean if len(clean) <= limit else clean[: limit - 1] + "…"

    def words(self, body: bytes) -> str:
        """What an error answer says: the message inside its JSON, or the text itself; nothing for a web page."""
        if looks_like_web_page("", body):
            return ""
        try:
            said = _message(json.loads(body))
        except (ValueError, RecursionError):
            said = body.decode("utf-8", "replace")
        return self.line(said)


def _message(value: object) -> str:
    """The message of an error object: under ``message``, ``error`` or ``detail``, at any of these levels."""
    if isinstance(value, dict):
        for name in ("message", "error", "detail"):
            if found := _message(value.get(name)):
                return found
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, map(_message, value[:5])))
    return value if isinstance(value, str) else ""
