"""Make one attempt of a call over HTTP, with aiohttp.

It is imported with the first client and not before: aiohttp takes half of the import time of this folder.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import TypeVar

import aiohttp
from yarl import URL

from netra_otel_bridge.core.clock import NS_PER_S, Clock
from netra_otel_bridge.core.errors import NetraError, NetraSchemaError, NetraUnavailable, NetraUntrusted
from netra_otel_bridge.core.threads import in_thread
from netra_otel_bridge.core.time_text import LAST_NS, parse_http_date_ns, parse_retry_after
from netra_otel_bridge.source.body import LARGE_BYTES, CutAnswer, read_body
from netra_otel_bridge.source.bounds import check_width
from netra_otel_bridge.source.calls import Call, TransportStats
from netra_otel_bridge.source.endpoint import request_headers
from netra_otel_bridge.source.failures import (
    CHECK_ENDPOINT,
    Failure,
    Redactor,
    WordsPolicy,
    judge_status,
    looks_like_web_page,
    timed_out,
    unreached,
    web_page,
)

T = TypeVar("T")
SCHEMA_TRIES = 3
"""Attempts to get a response of the right shape: a deployment in progress ends, but a changed API stays."""
READ_DATE_S = 10.0
"""Seconds between two readings of the ``Date`` header: reading it costs as much as reading a span."""
_JSON = {"Content-Type": "application/json"}
_ERROR_BODY_BYTES = 64 * 1024
_WAIT_OR_CHECK = "is Netra up, and NETRA_OTLP_ENDPOINT correct?"
_TRANSIENT_TLS = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)


class Exchange:
    """The connections to Netra and the API key that their requests carry.

    Belongs to the event loop of its first request. ``on_date`` is called with each ``Date`` that was read, and the
    monotonic time in seconds at which it arrived.

    Raises `ConfigurationError` for a key or headers that HTTP cannot carry.
    """

    def __init__(
        self,
        *,
        base: str,
        api_key: str,
        headers: Mapping[str, str],
        timeout_s: float,
        max_response_bytes: int,
        clock: Clock,
        ssl_context: ssl.SSLContext | None,
        stats: TransportStats,
        error_words: WordsPolicy | None,
    ) -> None:
        self._stats = stats
        self._base = base
        self._extra = dict(headers)
        self._headers = request_headers(api_key, headers)
        self.redactor = Redactor(self._headers["x-api-key"], *headers.values(), policy=error_words)
        self._timeout_s = timeout_s
        self._cap_bytes = max_response_bytes
        self._clock = clock
        self._ssl = ssl_context
        self._session: aiohttp.ClientSession | None = None
        self._date_ns: int | None = None
        self._date_at = 0.0
        self.on_date: Callable[[int, float], None] = lambda _date_ns, _at_s: None

    async def attempt(self, call: Call, decode: Callable[[bytes], T]) -> T | Failure:
        """Make one attempt, from connecting to decoding, and return the decoded response or the failure.

        ``decode`` raises `CutAnswer` for a body that does not parse and `NetraSchemaError` for one of the wrong shape.
        Raises `NoRoom`.
        """
        session = self._session or self._open()
        self._stats.calls[call.name] += 1
        url = URL(self._base + call.target, encoded=True)
        timeout_s = call.timeout_s or self._timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                if call.body is None:
                    response = await session.get(url, allow_redirects=False)
                else:
                    response = await session.post(url, data=call.body, headers=_JSON, allow_redirects=False)
                try:
                    return await self._read_answer(call, response, decode)
                finally:
                    if response.connection is not None:
                        response.close()
        except aiohttp.ConnectionTimeoutError as error:
            failure = judge_exception(error)
        except TimeoutError:
            failure = timed_out(timeout_s, optional=call.optional)
        except (aiohttp.ClientError, OSError) as error:
            failure = judge_exception(error)
        self._stats.statuses[0] += 1
        return failure

    async def _read_answer(
        self, call: Call, response: aiohttp.ClientResponse, decode: Callable[[bytes], T]
    ) -> T | Failure:
        status = response.status
        self._stats.statuses[status] += 1
        self._read_date(response)
        if not 200 <= status < 300:
            failure = await self._read_failure(call, response)
            return decode(call.on_404 or b"") if failure is None else failure
        try:
            body = await read_body(response, self._cap_bytes, call.room)
            self._stats.decoded_bytes += len(body)
            if looks_like_web_page(response.content_type, body):
                return web_page(status)
            if len(body) > LARGE_BYTES:
                return await in_thread(self._decode_large, decode, body)
            return decode(body)
        except NetraSchemaError as error:
            cause = self.redactor.about(error)
            return Failure(NetraSchemaError, cause, error.hint, status, retry=True, tries=SCHEMA_TRIES)
        except CutAnswer as error:
            return Failure(NetraUnavailable, self.redactor.about(error), "try again later", status, retry=True)
        except NetraError as error:
            return Failure(type(error), self.redactor.about(error), error.hint, status)

    def _decode_large(self, decode: Callable[[bytes], T], body: bytes) -> T:
        check_width(body, self._cap_bytes)
        return decode(body)

    async def _read_failure(self, call: Call, response: aiohttp.ClientResponse) -> Failure | None:
        try:
            body = await read_body(response, _ERROR_BODY_BYTES)
        except (NetraError, aiohttp.ClientError):
            body = b""
        status = response.status
        if status == 404 and call.on_404 is not None and not looks_like_web_page(response.content_type, body):
            return None
        asked_s = parse_retry_after(response.headers.get("Retry-After"), self._clock.now_ns())
        return judge_status(status, self.redactor.words(body), self._redirect_target(response), asked_s)

    def netra_now_ns(self) -> int | None:
        """Return the time by Netra's clock, accurate to a second; ``None`` before the first response.

        It is the ``Date`` of a response plus the time passed since, and does not depend on this machine's wall clock.
        """
        if self._date_ns is None:
            return None
        return self._date_ns + int((self._clock.monotonic() - self._date_at) * NS_PER_S)

    def _read_date(self, response: aiohttp.ClientResponse) -> None:
        """Read the ``Date`` header, every `READ_DATE_S`."""
        now = self._clock.monotonic()
        if self._date_ns is None or now - self._date_at > READ_DATE_S:
            date_ns = parse_http_date_ns(response.headers.get("Date", ""))
            if date_ns is not None and 0 <= date_ns <= LAST_NS:
                self._date_ns, self._date_at = date_ns, now
                self.on_date(date_ns, now)

    def use_api_key(self, api_key: str) -> None:
        """Send this key from now on; messages show neither it nor the previous one. Raises `ConfigurationError`."""
        before = self._headers["x-api-key"]
        self._headers = request_headers(api_key, self._extra)
        self.redactor = Redactor(before, self._headers["x-api-key"], *self._extra.values(), policy=self.redactor.policy)
        if self._session is not None:
            self._session.headers["x-api-key"] = self._headers["x-api-key"]

    async def close(self) -> None:
        """Close all connections; requests in flight fail. May be called again."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _redirect_target(self, response: aiohttp.ClientResponse) -> str:
        """Return the scheme and host that a redirect points to: the rest may contain a token."""
        try:
            target = URL(response.headers.get("Location", ""))
            return self.redactor.line(f"{target.scheme}://{target.host}") if target.host else ""
        except ValueError:
            return ""

    def _open(self) -> aiohttp.ClientSession:
        """Open the session: no cookies, no proxies or passwords from the environment, connections bounded by the budget."""
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=aiohttp.TCPConnector(limit=0, ssl=self._ssl or True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout_s / 2),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        return self._session


def judge_exception(error: aiohttp.ClientError | OSError) -> Failure:
    """Return the failure that a network or HTTP error means. For the deadline, see `timed_out`."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        detail = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
        return Failure(
            NetraUntrusted, f"its TLS certificate is not accepted ({detail})", "add its CA, or correct the host name"
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        if isinstance(error.os_error, ssl.SSLError) and not isinstance(error.os_error, _TRANSIENT_TLS):
            return Failure(NetraUntrusted, f"TLS cannot be set up ({error.os_error.reason})", "does it speak https?")
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return unreached("its name cannot be resolved", CHECK_ENDPOINT)
        detail = error.os_error.strerror or type(error.os_error).__name__
        return unreached(f"no connection ({detail})", _WAIT_OR_CHECK)
    if isinstance(error, TimeoutError):
        return unreached("connecting took too long", _WAIT_OR_CHECK)
    if isinstance(error, aiohttp.ClientPayloadError):
        return unreached("the response was cut off", "try again later")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return unreached("the connection was closed before a response arrived", "try again later")
    if isinstance(error, aiohttp.ClientResponseError):
        return unreached("the response is not HTTP", CHECK_ENDPOINT)
    detail = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
    return unreached(f"the connection broke ({detail})", "try again later")
