"""Build the concrete objects from the settings: clients, converters, destinations, state, lanes, streams."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack
from hashlib import blake2b
from pathlib import Path
from typing import Any, cast

from netra_otel_bridge.bridge.configured import Configured
from netra_otel_bridge.bridge.queries import checked_query, query_text
from netra_otel_bridge.config.load import state_home
from netra_otel_bridge.convert import Content, Exceptions, Pii, Privacy, Profile, SpanConverter, User, configured
from netra_otel_bridge.core.clock import NS_PER_S, Backoff
from netra_otel_bridge.core.errors import ConfigurationError, UsageError
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.deliver import (
    Destination,
    Sender,
    To,
    check_names,
    check_passed_once,
    destination_from,
    identity,
    open_async,
)
from netra_otel_bridge.pipeline.chunks import CHUNK_BYTES
from netra_otel_bridge.pipeline.memory_budget import SharedBudget
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.pipeline.resume import decode_token, start_point
from netra_otel_bridge.pipeline.route import LaneOptions, Route
from netra_otel_bridge.pipeline.stream import READ_AHEAD, SpanStream
from netra_otel_bridge.pipeline.watch import LaneWatch
from netra_otel_bridge.source import AsyncNetraClient, NetraClient
from netra_otel_bridge.source.netra_clock import NetraClock
from netra_otel_bridge.state import StateStore
from netra_otel_bridge.usage.ledger import PeriodLength
from netra_otel_bridge.usage.meter import Meter, MeterOptions


class Wiring(Configured):
    """One configuration, and the objects that are built from it."""

    def client(self) -> NetraClient:
        """Return a new client with the synchronous methods of ``Netra.usage``; close it, or use it in ``with``."""
        return NetraClient(**self._client_arguments())

    def async_client(self, *, attempts: int | None = None) -> AsyncNetraClient:
        """Return a new client with the same methods for asyncio; close it, or use it in ``async with``.

        Each call is tried up to ``attempts`` times, by default the number in the settings.
        """
        return AsyncNetraClient(**self._client_arguments(attempts))

    def _client_arguments(self, attempts: int | None = None) -> dict[str, Any]:
        settings = self.settings
        if settings.endpoint is None:
            raise ConfigurationError(
                "NETRA_OTLP_ENDPOINT is not set", hint="it is the endpoint that your applications send to"
            )
        if settings.api_key is None:
            raise ConfigurationError("NETRA_API_KEY is not set", hint="export NETRA_API_KEY=...")
        return {
            "api_key": settings.api_key.reveal(),
            "endpoint": settings.endpoint,
            "headers": {name: value.reveal() for name, value in settings.headers.items()},
            "timeout": settings.timeout_s,
            "max_concurrency": settings.concurrency,
            "rate_per_s": settings.rate_limit,
            "backoff": Backoff(attempts=attempts or settings.attempts),
            "allow_insecure": settings.allow_insecure,
            "clock": self.clock,
            "error_words": self._privacy().error_words,
        }

    def converter(self, profile: str | None = None) -> SpanConverter:
        """Return a new converter with the configured privacy policy, and the configured profile or this one."""
        settings = self.settings
        return SpanConverter(
            cast(Profile, profile or settings.profile), self._privacy(), usage_cost=settings.usage_cost
        )

    def _privacy(self) -> Privacy:
        settings = self.settings
        content, pii, user = cast(Content, settings.content), cast(Pii, settings.pii), cast(User, settings.user)
        return configured(
            content,
            settings.redact,
            pii,
            user,
            content_allow=settings.content_allow,
            exceptions=cast(Exceptions | None, settings.exceptions),
            user_hash_key=settings.user_hash_key.reveal() if settings.user_hash_key is not None else None,
        )

    def open_state(self, default: Path | None = None) -> StateStore:
        """Open the state of the settings, else the one at ``default``, else one that is deleted when it is closed.

        Raises `StateError`.
        """
        if self.settings.state is not None:
            default = self.state_directory()
        return StateStore.temporary(self.clock) if default is None else StateStore.open(default, self.clock)

    def enter_state(self, stack: AsyncExitStack, given: StateStore | None) -> StateStore:
        """Return the caller's state, else one that ``stack`` closes. Raises `UsageError` for another type."""
        if given is None:
            return stack.enter_context(self.open_state())
        if not isinstance(given, StateStore):
            raise UsageError(
                f"state is of type {type(given).__name__}",
                hint="pass the directory to Bridge(state=...), or pass what its open_state() returns",
            )
        return given

    def checkpoint_directory(self, to: Sequence[str], query: TraceQuery, range_text: str) -> Path:
        """Return the directory in which a replay without ``state`` keeps its progress until it is finished.

        It is the same for each replay of the same traces, of the same range as typed, to the same destinations.
        """
        what = [
            self.settings.endpoint,
            sorted(identity(one, self.environ) for one in to),
            query_text((query,)),
            range_text,
            self.settings.profile,
        ]
        return state_home(self.environ) / "replays" / _digest(what)

    def destinations(self) -> tuple[str, ...]:
        """Return the configured destinations, as ``DEST`` texts. Raises `ConfigurationError` if there is none."""
        return tuple(one for one in self.targets(None) if isinstance(one, str))

    def targets(self, to: To | Sequence[To] | None) -> list[To]:
        """Return the destinations of ``to``, by default the configured ones, without ``none``.

        Raises `ConfigurationError` if none is left, and `UsageError` for one that is given twice.
        """
        if to is None:
            to = self.settings.to
        given = list(to) if isinstance(to, Sequence) and not isinstance(to, str) else [to]
        targets = [one for one in given if not (isinstance(one, str) and one == "none")]
        if not targets:
            raise ConfigurationError("no destination is configured", hint="give --to, or set OTEL_TRACES_EXPORTER")
        check_passed_once(targets)
        return targets

    async def enter_destination(self, stack: AsyncExitStack, to: To) -> Destination:
        """Open a destination until ``stack`` closes it. Raises `UsageError`, `ConfigurationError`."""
        if isinstance(to, str):
            destination = await open_async(self.settings.destinations.get(to, to), name=to, environ=self.environ)
        else:
            destination = destination_from(to)
        stack.push_async_callback(destination.aclose)
        return destination

    async def routes(
        self,
        stack: AsyncExitStack,
        to: To | Sequence[To] | None,
        queries: Sequence[TraceQuery | None],
        state: StateStore,
        *,
        new_watch: Callable[[str, LogLimit, Recorder], LaneWatch],
        client: AsyncNetraClient | None = None,
        patient: bool = False,
        stops_when_refused: bool = True,
        profile: str | None = None,
        writer: Executor | None = None,
    ) -> list[Route]:
        """Make a route for each destination of ``to``, with one client and one writer, until ``stack`` closes.

        ``new_watch`` makes the watch of a lane from the name of its destination. A ``patient`` route retries its
        destination without limit; ``stops_when_refused`` is that of `Sender`. By default the ``client``, the ``writer``,
        which is one thread, and the ``profile`` are those of the settings.
        """
        settings = self.settings
        asked = tuple(map(checked_query, queries))
        targets = self.targets(to)
        destinations = [await self.enter_destination(stack, one) for one in targets]
        if not state.is_temporary:
            check_names(targets, destinations, self.environ)
        reader = client if client is not None else await stack.enter_async_context(self.async_client())
        writer = writer or stack.enter_context(ThreadPoolExecutor(1, "state"))
        options = LaneOptions(
            fetchers=settings.concurrency,
            batch_spans=settings.batch_spans,
            batch_bytes=settings.batch_bytes,
            held_bytes=settings.held_bytes,
            state_lasts=not state.is_temporary,
        )
        backoff = Backoff(first_s=0.5, attempts=settings.attempts)
        log_limit = LogLimit(self.clock)
        routes = []
        names = distinct_names(identity(one.name, self.environ) for one in destinations)
        for destination, name in zip(destinations, names, strict=True):
            stack.enter_context(state.alone(reader.base_url, name))
            recorder = Recorder(state.lane(reader.base_url, name, query_text(asked)), writer, self.clock)
            watch = new_watch(destination.name, log_limit, recorder)
            sender = Sender(
                destination, backoff=backoff, clock=self.clock, on_retry=watch.retrying,
                on_recovered=watch.recovered, on_warning=watch.warned, patient=patient,
                stops_when_refused=stops_when_refused,
            )  # fmt: skip
            routes.append(Route(reader, self.converter(profile), sender, asked, recorder, options, watch))
        return routes

    def span_stream(
        self,
        client: AsyncNetraClient,
        query: TraceQuery | None,
        window: Window,
        asked: Sequence[object],
        trace_id: str | None = None,
        resume_token: str | None = None,
        profile: str | None = None,
        ahead: int = READ_AHEAD,
        chunk_bytes: int = CHUNK_BYTES,
        shared: SharedBudget | None = None,
    ) -> SpanStream:
        """Make the stream behind `Bridge.aread_spans`. A token is valid for the range as given, ``asked``.

        Up to ``ahead`` traces are read at once; a chunk of several spans holds up to ``chunk_bytes``. The memory comes
        from ``shared``. Raises `UsageError` for a token of another stream, or for text that is not a token.
        """
        for name, text in (("trace_id", trace_id), ("resume_token", resume_token)):
            if not isinstance(text, str | None):
                raise UsageError(f"{name} is of type {type(text).__name__}", hint="give a text")
        if trace_id == "":
            raise UsageError("trace_id is empty", hint="leave it out, or give the id of a trace")
        query = checked_query(query)
        stream_id = _digest([client.base_url, asked, query_text((query,)), trace_id, profile or self.settings.profile])
        return SpanStream(
            client,
            self.converter(profile),
            query,
            decode_token(resume_token, stream_id) if resume_token else start_point(stream_id, window),
            trace_id=trace_id,
            ahead=ahead,
            chunk_bytes=chunk_bytes,
            shared=shared,
        )

    def meter(
        self,
        client: AsyncNetraClient,
        state: StateStore,
        netra_clock: NetraClock,
        queries: Sequence[TraceQuery] = (),
    ) -> Meter:
        """Make the meter of the usage of tenants and sessions, which counts up to the earlier of both clocks.

        If the settings name no tenants, it measures those of ``queries``. Raises `StateError`.
        """
        settings = self.settings
        followed = tuple(query.tenant_id for query in queries if query.tenant_id)
        options = MeterOptions(
            tenants=settings.usage_tenants or followed,
            tenant_limit=settings.usage_tenant_limit,
            sessions=settings.usage_sessions,
            period=cast(PeriodLength, settings.usage_period),
            lookback_ns=settings.lookback_ns,
            grace_ns=settings.usage_grace_ns,
            announce_s=settings.usage_announce_ns / NS_PER_S,
            budgets=settings.usage_budgets,
        )
        return Meter(
            client,
            state.meter(client.base_url),
            options,
            now_ns=netra_clock.safe_ns,
            latest_ns=netra_clock.latest_ns,
            clock=self.clock,
        )


def distinct_names(names: Iterable[str]) -> list[str]:
    """Number repeated names.

    The state identifies destinations by name, and two exporters of one class are two destinations.
    """
    found: list[str] = []
    for name in names:
        found.append(name if name not in found else f"{name}#{len(found) + 1}")
    return found


def _digest(what: Sequence[object]) -> str:
    return blake2b(json.dumps(what).encode(), digest_size=8).hexdigest()
