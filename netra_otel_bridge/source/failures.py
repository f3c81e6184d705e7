"""Classify failed attempts.

A `Failure` holds the error to raise when no attempt is left, and whether to try again. Text from a server becomes one
printable line without secrets before it enters a message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from netra_otel_bridge.core.errors import (
    NetraError,
    NetraNotAllowed,
    NetraNotFound,
    NetraRateLimited,
    NetraRejected,
    NetraUnauthorized,
    NetraUnavailable,
)
from netra_otel_bridge.core.outside_text import safe_line

MESSAGE_CHARS = 300
"""Maximum characters of a server's message that an error shows."""
SECRET_CHARS = 6
"""The shortest text that is masked as a secret."""
CHECK_ENDPOINT = "check NETRA_OTLP_ENDPOINT: it is Netra's address, as netra-sdk uses it"
_CHECK_KEY = "check NETRA_API_KEY: is it for this Netra instance, and has it expired?"
_DO_WITHOUT = "this key or installation does not have the dashboard calls; the usage calls do not need them"


WordsPolicy = Callable[[str, str], str]
"""Returns what an error may repeat of a server's words, given these, and the code of the error among them or ``""``."""
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}|[0-9]{1,9}")
_CODES = ("code", "type", "error_code", "errorCode", "error")
"""Names under which error responses have a code. Messages are content, even if they are one word."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An attempt without a usable response.

    ``tries`` limits the attempts that fail this way; ``None`` leaves that to the back-off.
    """

    kind: type[NetraError]
    cause: str
    hint: str = ""
    status: int | None = None
    retry: bool = False
    tries: int | None = None
    asked_s: float | None = None

    def error(self, what: str, host: str, attempts: int) -> NetraError:
        """Return the error to raise: what failed, where, after how many attempts, and why."""
        after = f" after {attempts} attempts" if attempts > 1 else ""
        return self.kind(f"{what} at {host} failed{after}: {self.cause}", hint=self.hint, status=self.status)


def judge_status(status: int, words: str, location: str, asked_s: float | None) -> Failure | None:
    """Return the failure for an HTTP status; ``None`` for 2xx. ``words`` is the server's message as one safe line."""
    said = f"HTTP {status}{': ' + words if words else ''}"
    if 200 <= status < 300:
        return None
    if status in {401, 403}:
        return Failure(NetraUnauthorized, said, _CHECK_KEY, status)
    if status in {404, 405}:
        return Failure(NetraNotFound, said, CHECK_ENDPOINT, status)
    if status < 400:
        to = f" to {location}" if location else ""
        return Failure(NetraNotFound, f"HTTP {status}, a redirect{to}; none is followed", CHECK_ENDPOINT, status)
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
    """Return the failure of a web page in place of JSON: a login page, a proxy, another server."""
    return Failure(NetraNotFound, f"HTTP {status} with a web page, not the Netra API", CHECK_ENDPOINT, status)


def of_optional_call(failure: Failure) -> Failure:
    """Return the failure for a call that not every key or installation has: a rejection does not mean a bad key."""
    if failure.kind in {NetraUnauthorized, NetraNotFound}:
        return replace(failure, kind=NetraNotAllowed, hint=_DO_WITHOUT)
    return failure


def looks_like_web_page(content_type: str, body: bytes) -> bool:
    """Return whether a response is HTML, by its content type or its first character, with which JSON cannot start."""
    return content_type.startswith("text/html") or body[:64].lstrip()[:1] == b"<"


def timed_out(timeout_s: float, *, optional: bool = False) -> Failure:
    """Return the failure for a request without a complete response by its deadline."""
    return Failure(
        NetraUnavailable,
        f"no complete response within {timeout_s:g} s",
        "request a shorter time range" if optional else "NETRA_USAGE_TIMEOUT sets the seconds allowed",
        retry=True,
    )


def unreached(cause: str, hint: str) -> Failure:
    """Return the failure for a request that got no usable response, but may get one later."""
    return Failure(NetraUnavailable, cause, hint, retry=True)


class Redactor:
    """Makes text from outside safe for a message: one printable line of bounded length, with secrets masked.

    Each word of a secret is masked too (``Bearer abc``). Text shorter than `SECRET_CHARS` is not a secret. ``policy``
    decides what of a server's words an error may repeat.
    """

    def __init__(self, *secrets: str, policy: WordsPolicy | None = None) -> None:
        parts = {part for secret in secrets for part in (secret, *secret.split()) if len(part) >= SECRET_CHARS}
        self._secrets = tuple(parts)
        self.policy: WordsPolicy = policy or (lambda words, _: words)

    def line(self, text: str, limit: int = MESSAGE_CHARS) -> str:
        """Return ``text`` as one line of at most ``limit`` characters, with secrets masked."""
        return safe_line(text, self._secrets, limit)

    def words(self, body: bytes) -> str:
        """Return what the policy leaves of an error response's message, from its JSON or the text; nothing of a web page."""
        if looks_like_web_page("", body):
            return ""
        try:
            answer = json.loads(body)
            said, code = _message(answer), _code(answer)
        except (ValueError, RecursionError):
            said, code = body.decode("utf-8", "replace"), ""
        return self.line(self.policy(said, code))

    def about(self, error: NetraError) -> str:
        """Return the bridge's own words about a response as one line; they may name a part of it."""
        return self.line(self.policy(error.message, error.message))


def _code(value: object) -> str:
    """Return the type or code in an error object; empty if it has none that is shaped like one."""
    if not isinstance(value, dict):
        return ""
    for name in _CODES:
        found = value.get(name)
        if isinstance(found, dict):
            found = _code(found)
        if isinstance(found, int | str) and not isinstance(found, bool) and _CODE.fullmatch(str(found)):
            return str(found)
    return ""


def _message(value: object) -> str:
    """Return the message in an error object: under ``message``, ``error`` or ``detail``, at any depth of these."""
    if isinstance(value, dict):
        for name in ("message", "error", "detail"):
            if found := _message(value.get(name)):
                return found
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, map(_message, value[:5])))
    return value if isinstance(value, str) else ""
