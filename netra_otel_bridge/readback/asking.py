"""Ask a store over HTTP: one GET at a time that returns a decoded response or raises one typed error.

- No redirect is followed: it would send the credentials elsewhere, and a login page is no trace.
- A request ends within its time-out, whatever the server does, and a body is bounded.
- A response that may be better later (429, 5xx, a cut body, no connection) is asked for again, see `patience`.
- Proxies are those of the environment, and none for loopback.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import httpx

from netra_otel_bridge.core.clock import Clock
from netra_otel_bridge.core.errors import DestinationMisconfigured, DestinationUnavailable
from netra_otel_bridge.core.threads import in_thread
from netra_otel_bridge.core.time_text import parse_retry_after
from netra_otel_bridge.readback.address import Address
from netra_otel_bridge.readback.otlp_json import NotOtlp
from netra_otel_bridge.readback.patience import DEADLINE_S, REFUSING_HINT, Again, Patience
from netra_otel_bridge.readback.reader import TraceNotReturned

T = TypeVar("T")
Query = Sequence[tuple[str, str]]
MAX_BODY_BYTES = 256 << 20
"""Maximum size of a response, decompressed."""
TIMEOUT_S = 30.0
_CONNECT_S = 10.0
_ERROR_BODY_BYTES = 16 << 10
_LARGE_BYTES = 1 << 20
"""Size from which on a body is decoded in a thread."""
_FEW_TRIES = 4
"""Attempts at what is likely to fail again in the same way: a 500, and a body that does not parse."""
_BUSY = frozenset({408, 425, 429, 502, 503, 504})
_ADDRESS_HINT = "check the address, its path, and that it is the query API of the store"
_RUNNING_HINT = "check that it is running, that this is its address, and whether it requires TLS"


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response. ``content_type`` is in lowercase, without parameters."""

    status: int
    content_type: str
    body: bytes

    @property
    def words(self) -> str:
        """Return the beginning of the body as text."""
        return self.body[:_ERROR_BODY_BYTES].decode("utf-8", "replace")

    @property
    def is_web_page(self) -> bool:
        """Return whether it is a page for people, from a proxy or another server."""
        return "html" in self.content_type or self.body[:256].lstrip()[:9].lower().startswith((b"<!doctype", b"<html"))


Judge = Callable[[Response], Exception | None]


class Asker:
    """The connections to one store. None is made before the first `get`; all belong to its event loop."""

    def __init__(
        self,
        address: Address,
        concurrency: int,
        *,
        clock: Clock | None = None,
        timeout_s: float = TIMEOUT_S,
        deadline_s: float = DEADLINE_S,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.address = address
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._max_body_bytes = max_body_bytes
        self._patience = Patience(concurrency, clock, deadline_s)
        self._client: httpx.AsyncClient | None = None

    @property
    def calls(self) -> int:
        """Return the number of requests so far."""
        return self._patience.calls

    async def get(
        self,
        path: str,
        query: Query,
        decode: Callable[[Response], T],
        *,
        accept: str,
        what: str,
        judge: Judge = lambda _response: None,
    ) -> T:
        """Return the response to ``GET base + path``, as ``decode`` reads it. ``what`` names it in messages.

        ``decode`` gets each success, and each 404 that is no web page; it raises `NotOtlp` for a body that it cannot
        read. ``judge`` may return the exception to raise for any other status; by default the status decides.
        Raises a `DestinationError`.
        """
        return await self._patience.ask(partial(self._attempt, path, query, decode, accept, what, judge))

    async def aclose(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def failed(self, words: str, hint: str = _ADDRESS_HINT) -> DestinationMisconfigured:
        """Return the error of an address that is not that of the store."""
        return self.address.failed(DestinationMisconfigured, words, hint)

    async def _attempt(
        self, path: str, query: Query, decode: Callable[[Response], T], accept: str, what: str, judge: Judge
    ) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                response, after_s = await self._exchange(path, query, accept, what)
        except TimeoutError:
            raise Again(self._unavailable(f"{what}: no response within {self._timeout_s:g} s")) from None
        except httpx.HTTPError as error:
            raise self._broken(error, what) from None
        if response.is_web_page and response.status in (200, 404):
            raise self.failed(f"HTTP {response.status} with a web page, not the response of the store")
        if not 200 <= response.status < 300 and response.status != 404:
            raise judge(response) or self._refusal(response, after_s, what)
        try:
            if len(response.body) > _LARGE_BYTES:
                return await in_thread(decode, response)
            return decode(response)
        except NotOtlp as error:
            raise Again(self._unavailable(f"{what}: the response cannot be read: {error}"), tries=_FEW_TRIES) from None

    async def _exchange(self, path: str, query: Query, accept: str, what: str) -> tuple[Response, float | None]:
        """Make one request, and return its whole response with the wait in its ``Retry-After``."""
        headers = {**self.address.headers, "Accept": accept}
        async with self._open().stream(
            "GET", f"{self.address.url}{path}", params=list(query) or None, headers=headers
        ) as response:
            most = self._max_body_bytes if response.status_code == 200 else _ERROR_BODY_BYTES
            parts: list[bytes] = []
            size = 0
            async for part in response.aiter_bytes():
                parts.append(part)
                size += len(part)
                if size > most:
                    break
            if size > self._max_body_bytes:
                raise self.address.failed(
                    TraceNotReturned,
                    f"{what}: the response has more than {self._max_body_bytes >> 20} MiB",
                    "look at it in the store itself",
                )
            content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            after_s = parse_retry_after(response.headers.get("Retry-After"), self._patience.clock.now_ns())
            return Response(response.status_code, content_type, b"".join(parts)), after_s

    def _refusal(self, response: Response, after_s: float | None, what: str) -> Exception:
        """Return the exception for a status that is no success."""
        status = response.status
        words = "" if response.is_web_page else response.words.strip()
        said = f"{what}: HTTP {status}: {words}" if words else f"{what}: HTTP {status}"
        if 300 <= status < 400:
            return self.failed(f"{what}: HTTP {status}: a redirect, which is not followed")
        if status in (401, 403, 407):
            return self.address.unauthorized(said)
        if status in _BUSY:
            hint = REFUSING_HINT if status in (429, 503) else _RUNNING_HINT
            return Again(self._unavailable(said, hint), after_s=after_s, throttled=status == 429)
        if status >= 500 and status != 501:
            return Again(
                self._unavailable(said, "it responds but fails: see its log"), after_s=after_s, tries=_FEW_TRIES
            )
        return self.failed(said)

    def _broken(self, error: httpx.HTTPError, what: str) -> Exception:
        """Return the exception for a request without a whole response."""
        cause = _tls_cause(error)
        if cause is not None:
            return self.address.untrusted(f"no TLS: {cause}")
        words = str(error) or type(error).__name__
        if isinstance(error, httpx.RemoteProtocolError) and "illegal" in words:
            return self.failed(f"{what}: the server does not speak HTTP: {words}", _PORT_HINT)
        if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
            return self.failed(f"{what}: the request cannot be sent: {type(error).__name__}")
        reached = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError)
        return Again(self._unavailable(f"{what}: {words}"), answered=reached)

    def _unavailable(self, words: str, hint: str = _RUNNING_HINT) -> DestinationUnavailable:
        return self.address.failed(DestinationUnavailable, words, hint)

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            proxies = not self.address.is_loopback
            self._client = httpx.AsyncClient(
                verify=self.address.ssl_context() if self.address.tls or proxies else False,
                trust_env=proxies,
                follow_redirects=False,
                timeout=httpx.Timeout(self._timeout_s, connect=min(_CONNECT_S, self._timeout_s), pool=None),
                limits=httpx.Limits(max_connections=self._concurrency, max_keepalive_connections=self._concurrency),
                headers={"User-Agent": "netra-otel-bridge"},
            )
        return self._client


_PORT_HINT = "give the port of its HTTP API, not that of gRPC"


def _tls_cause(error: BaseException) -> ssl.SSLError | None:
    """Return the failure of TLS that no later attempt mends, if it is the cause of an error."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError) and not isinstance(
            seen, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError
        ):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
