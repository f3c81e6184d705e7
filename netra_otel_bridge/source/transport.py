"""Send requests to Netra, retry them within limits, and return a value or raise one typed error.

- A request MUST end: a deadline covers sending, waiting and reading, so a byte every 0.4 s does not hold it open.
- A body MUST be complete and parse before any of it is used; a truncated one is requested again.
- Waits MUST be at least what ``Retry-After`` asks, up to the back-off's longest wait, and MUST end when cancelled.
- The API key MUST reach only the configured host and no message. HTTP errors are therefore never chained as a cause,
  because those of aiohttp contain the request's headers.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping
from typing import TypeVar

from yarl import URL

from netra_otel_bridge.core.clock import Backoff, Clock
from netra_otel_bridge.core.errors import ConfigurationError, UsageError
from netra_otel_bridge.source.arguments import is_above_zero
from netra_otel_bridge.source.budget import Budget
from netra_otel_bridge.source.calls import Call, TransportStats
from netra_otel_bridge.source.endpoint import base_url
from netra_otel_bridge.source.failures import Failure, WordsPolicy, of_optional_call

T = TypeVar("T")
_SUBJECT_CHARS = 80
_log = logging.getLogger(__name__)


class Transport:
    """The budget and the retries of a client's requests, and the `Exchange` that makes each attempt.

    Belongs to the event loop of its first request.
    """

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
        error_words: WordsPolicy | None,
    ) -> None:
        from netra_otel_bridge.source.exchange import Exchange

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
        self.exchange = Exchange(
            base=self.base,
            api_key=api_key,
            headers=headers,
            timeout_s=timeout_s,
            max_response_bytes=max_response_bytes,
            clock=clock,
            ssl_context=ssl_context,
            stats=self.stats,
            error_words=error_words,
        )
        self._backoff = backoff
        self._clock = clock
        self._closed = False

    async def request(self, call: Call, decode: Callable[[bytes], T]) -> T:
        """Return the response, as ``decode`` reads it.

        ``decode`` raises `CutAnswer` for a body that does not parse, which is requested again as often as the back-off
        allows, and `NetraSchemaError` for one of the wrong shape, which is requested `SCHEMA_TRIES` times in all.
        Raises `NetraError`, and `UsageError` once closed.
        """
        attempt = 0
        while True:
            token = await self.budget.acquire()
            try:
                if self._closed:
                    raise UsageError("the client is closed")
                answer = await self.exchange.attempt(call, decode)
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
                raise answer.error(self._name(call), self.host, attempt)
            if answer.asked_s is not None and answer.asked_s > self._backoff.max_s:
                _log.warning(
                    "%s at %s: Netra asks to wait %.0f s; waiting %.0f s, the configured maximum",
                    call.name, self.host, answer.asked_s, self._backoff.max_s,
                )  # fmt: skip
            delay_s = self._backoff.delay_s(attempt - 1, answer.asked_s)
            _log.debug("%s at %s: %s; again in %.2f s", self._name(call), self.host, answer.cause, delay_s)
            self.stats.retries += 1
            await self._clock.sleep(delay_s)

    async def close(self) -> None:
        """Close all connections; requests in flight fail, later ones raise `UsageError`. May be called again."""
        self._closed = True
        await self.exchange.close()

    def _name(self, call: Call) -> str:
        subject = self.exchange.redactor.line(call.subject, _SUBJECT_CHARS)
        return f"{call.name} for {subject}" if call.subject else call.name
