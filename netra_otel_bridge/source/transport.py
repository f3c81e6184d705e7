"""Requests to Netra: sent, tried again, bounded, and answered with a value or one typed error.

- A request MUST end: a deadline covers sending, waiting and reading, so a byte every 0.4 s does not hold it.
- A body MUST be whole and parse before any of it is used; a cut one is asked for again.
- Waits MUST be at least what ``Retry-After`` asks, up to the back-off's longest wait, and end when cancelled.
- The API key MUST reach only the configured host and no message; HTTP errors are therefore never chained as a
  cause, because those of aiohttp carry the request's headers.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp
import msgspec
from yarl import URL

from netra_otel_bridge.core.clock import NS_PER_S, Backoff, Clock
from netra_otel_bridge.core.errors import (
    ConfigurationError,
    NetraError,
    NetraSchemaError,
    NetraUnavailable,
    UsageError,
)
from netra_otel_bridge.core.time_text import parse_http_date_ns, parse_retry_after
from netra_otel_bridge.source.arguments import is_above_zero
from netra_otel_bridge.source.body import CutAnswer, read_body
from netra_otel_bridge.source.budget import Budget
from netra_otel_bridge.source.endpoint import base_url, request_headers
from netra_otel_bridge.source.failures import (
    Failure,
    Redactor,
    judge_exception,
    judge_status,
    looks_like_web_page,
    of_optional_call,
    timed_out,
    web_page,
)

T = TypeVar("T")
SCHEMA_TRIES = 3
"""Attempts at an answer of the wrong shape: a deployment in progress passes, a changed API does not."""
READ_DATE_S = 10.0
_JSON = {"Content-Type": "application/json"}
_SUBJECT_CHARS = 80
_ERROR_BODY_BYTES = 64 * 1024
_log = logging.getLogger(__name__)


class Call(msgspec.Struct, frozen=True):
    """One request. ``name`` is for people and counters, ``target`` the quoted path and query below the base URL.

    ``subject`` is the id asked about, for people; ``on_404`` is the body that a 404 stands for, where the API says "there
    is none" in that way. ``timeout_s`` bounds one attempt in place of the transport's. ``optional`` calls are those that
    not every key may make: what refuses one is `NetraNotAllowed`.
    """

    name: str
    target: str
    body: bytes | None = None
    subject: str = ""
    on_404: bytes | None = None
    timeout_s: float | None = None
    optional: bool = False


@dataclass(slots=True)
class TransportStats:
    """What was asked of Netra so far.

    ``calls`` counts attempts by call name, ``statuses`` their answers by HTTP status, 0 where there was none.
    """

    calls: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    retries: int = 0
    decoded_bytes: int = 0


class Transport:
    """One HTTP session and one budget. Belongs to the event loop of its first request."""

    def __init__(
        self,
        *,
        api_key: str,
        endpoint: str,
        headers: Mapping[str, str],
        timeout_s: float,
        max_concurrency: int,
        rate_per_s: float | None,
        backoff: Backoff,
        max_response_bytes: int,
        allow_insecure: bool,
        clock: Clock,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        numbers = (timeout_s, max_concurrency, max_response_bytes, 1 if rate_per_s is None else rate_per_s)
        if not all(map(is_above_zero, numbers)):
            raise ConfigurationError(
                "timeout, max_concurrency, rate_per_s and max_response_bytes must be numbers above zero"
            )
        if not isinstance(backoff, Backoff):
            raise UsageError(f"backoff is of type {type(backoff).__name__}", hint="give a Backoff(...)")
        if not isinstance(headers, Mapping):
            raise ConfigurationError("headers must be a mapping, from names to values")
        self.base = base_url(endpoint, allow_insecure=allow_insecure)
        self.host = URL(self.base).authority
        self.stats = TransportStats()
        self.budget = Budget(max_concurrency=max_concurrency, rate_per_s=rate_per_s, clock=clock)
        self._extra = dict(headers)
        self._headers = request_headers(api_key, headers)
        self._redactor = Redactor(self._headers["x-api-key"], *headers.values())
        self._timeout_s = timeout_s
        self._backoff = backoff
        self._cap_bytes = max_response_bytes
        self._clock = clock
        self._ssl = ssl_context
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        self._date_ns: int | None = None
        self._date_at = 0.0

    async def request(self, call: Call, decode: Callable[[bytes], T]) -> T:
        """The decoded answer.

        ``decode`` raises `CutAnswer` for what does not parse (asked for again, as often as the back-off allows) and
        `NetraSchemaError` for what has the wrong shape (asked for again `SCHEMA_TRIES` times in all).
        Raises `NetraError`, and `UsageError` once closed.
        """
        attempt = 0
        while True:
            token = await self.budget.acquire()
            try:
                answer = await self._attempt(call, decode)
            finally:
                self.budget.release()
            if not isinstance(answer, Failure):
                self.budget.succeeded()
                return answer
            if call.optional:
                answer = of_optional_call(answer)
            attempt += 1
            if answer.status == 429:
                self.budget.throttled(token)
            if answer.asked_s is not None:
                self.budget.pause(min(answer.asked_s, self._backoff.max_s))
            if not answer.retry or attempt >= min(self._backoff.attempts, answer.tries or self._backoff.attempts):
                raise answer.error(self._what(call), self.host, attempt)
            if answer.asked_s is not None and answer.asked_s > self._backoff.max_s:
                self._say_that_it_waits_less(call, answer.asked_s)
            delay_s = self._backoff.delay_s(attempt - 1, answer.asked_s)
            _log.debug("%s at %s: %s; again in %.2f s", self._what(call), self.host, answer.cause, delay_s)
            self.stats.retries += 1
            await self._clock.sleep(delay_s)

    def use_api_key(self, api_key: str) -> None:
        """Send this key from now on; no message shows it or the one before. Raises `ConfigurationError`."""
        before = self._headers["x-api-key"]
        self._headers = request_headers(api_key, self._extra)
        self._redactor = Redactor(before, self._headers["x-api-key"], *self._extra.values())
        if self._session is not None:
            self._session.headers["x-api-key"] = self._headers["x-api-key"]

    async def close(self) -> None:
        """Close connections; requests under way fail, later ones raise `UsageError`. May be called again."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _attempt(self, call: Call, decode: Callable[[bytes], T]) -> T | Failure:
        """One request, from connecting to decoding. The answers of `decode` and all failures come back as values."""
        if self._closed:
            raise UsageError("the client is closed")
        session = self._session or self._open()
        self.stats.calls[call.name] += 1
        url = URL(self.base + call.target, encoded=True)
        timeout_s = call.timeout_s or self._timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                if call.body is None:
                    response = await session.get(url, allow_redirects=False)
                else:
                    response = await session.post(url, data=call.body, headers=_JSON, allow_redirects=False)
                try:
                    return await self._read(call, response, decode)
                finally:
                    if response.connection is not None:
                        response.close()
        except aiohttp.ConnectionTimeoutError as error:
            failure = judge_exception(error)
        except TimeoutError:
            failure = timed_out(timeout_s, optional=call.optional)
        except (aiohttp.ClientError, OSError) as error:
            failure = judge_exception(error)
        self.stats.statuses[0] += 1
        return failure

    async def _read(self, call: Call, response: aiohttp.ClientResponse, decode: Callable[[bytes], T]) -> T | Failure:
        status = response.status
        self.stats.statuses[status] += 1
        self._read_date(response)
        if not 200 <= status < 300:
            failure = await self._read_failure(call, response)
            return decode(call.on_404 or b"") if failure is None else failure
        try:
            body = await read_body(response, self._cap_bytes)
            self.stats.decoded_bytes += len(body)
            if looks_like_web_page(response.content_type, body):
                return web_page(status)
            return decode(body)
        except NetraSchemaError as error:
            cause = self._redactor.line(error.message)
            return Failure(NetraSchemaError, cause, error.hint, status, retry=True, tries=SCHEMA_TRIES)
        except CutAnswer as error:
            return Failure(NetraUnavailable, self._redactor.line(error.message), "try again later", status, retry=True)
        except NetraError as error:
            return Failure(type(error), self._redactor.line(error.message), error.hint, status)

    async def _read_failure(self, call: Call, response: aiohttp.ClientResponse) -> Failure | None:
        try:
            body = await read_body(response, _ERROR_BODY_BYTES)
        except (NetraError, aiohttp.ClientError):
            body = b""
        status = response.status
        if status == 404 and call.on_404 is not None and not looks_like_web_page(response.content_type, body):
            return None
        asked_s = parse_retry_after(response.headers.get("Retry-After"), self._clock.now_ns())
        return judge_status(status, self._redactor.words(body), self._place(response), asked_s)

    def netra_now_ns(self) -> int | None:
        """The time by Netra's clock, to a second: the ``Date`` of an answer and what passed since; ``None`` before one.

        It does not depend on this machine's wall clock.
        """
        if self._date_ns is None:
            return None
        return self._date_ns + int((self._clock.monotonic() - self._date_at) * NS_PER_S)

    def _read_date(self, response: aiohttp.ClientResponse) -> None:
        """Seldom, for it costs as much as a span."""
        now = self._clock.monotonic()
        if self._date_ns is None or now - self._date_at > READ_DATE_S:
            date_ns = parse_http_date_ns(response.headers.get("Date", ""))
            if date_ns is not None:
                self._date_ns, self._date_at = date_ns, now

    def _what(self, call: Call) -> str:
        return f"{call.name} for {self._redactor.line(call.subject, _SUBJECT_CHARS)}" if call.subject else call.name

    def _place(self, response: aiohttp.ClientResponse) -> str:
        """Scheme and host that a redirect points to: the rest of it may hold a token."""
        try:
            target = URL(response.headers.get("Location", ""))
            return self._redactor.line(f"{target.scheme}://{target.host}") if target.host else ""
        except ValueError:
            return ""

    def _say_that_it_waits_less(self, call: Call, asked_s: float) -> None:
        _log.warning(
            "%s at %s: Netra asks to wait %.0f s; waiting %.0f s, the longest that is set",
            call.name,
            self.host,
            asked_s,
            self._backoff.max_s,
        )

    def _open(self) -> aiohttp.ClientSession:
        """The session: no cookies, no proxies or passwords from the environment, connections bounded by the budget."""
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0, ssl=self._ssl or True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s / 2),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        return self._session
