"""The library's front door, and the only place that wires concrete classes together.

from netra_otel_bridge import replay
report = replay(my_span_exporter, since="24h")
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, aclosing
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, cast

from netra_otel_bridge.bridge.replay import _Progress
from netra_otel_bridge.bridge.wiring import checked_query, distinct_names, query_text
from netra_otel_bridge.config.load import load, state_home
from netra_otel_bridge.config.settings import Settings
from netra_otel_bridge.convert import Content, Pii, Privacy, Profile, SpanConverter, User
from netra_otel_bridge.core.blocking import iterate_here, run_here
from netra_otel_bridge.core.clock import NS_PER_S, Backoff, Clock, SystemClock
from netra_otel_bridge.core.errors import ConfigurationError, Stopped, UsageError
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.outcome import SpanChunk
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.model.report import LaneReport, ReplayEstimate, ReplayReport
from netra_otel_bridge.core.tasks import all_of, until_set
from netra_otel_bridge.core.time_text import iso_ms, parse_time_ns
from netra_otel_bridge.deliver import (
    Destination,
    Sender,
    check_handed_in_once,
    check_names,
    identity,
    opened,
    own_destination,
)
from netra_otel_bridge.deliver import To as To
from netra_otel_bridge.pipeline.chunks import CHUNK_BYTES
from netra_otel_bridge.pipeline.dead_letters import resend
from netra_otel_bridge.pipeline.estimate import estimate
from netra_otel_bridge.pipeline.lane import Route
from netra_otel_bridge.pipeline.memory_budget import SharedBudget
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.pipeline.resume import first_place, place
from netra_otel_bridge.pipeline.stream import AHEAD, SpanStream
from netra_otel_bridge.pipeline.watch import LaneOptions, LaneWatch
from netra_otel_bridge.pipeline.windows import split, without
from netra_otel_bridge.source import AsyncNetraClient, NetraClient
from netra_otel_bridge.state import MeterState, StateStore
from netra_otel_bridge.usage.ledger import PeriodLength
from netra_otel_bridge.usage.meter import Meter, MeterOptions


class Bridge:
    """Netra on one side, any destination on the other, with one configuration.

    Settings are given by name (those of ``config show``: ``api_key``, ``endpoint``, ``profile``, ``concurrency`` ...),
    else taken from ``environ``, else from ``config_file``. Raises `UsageError`, `ConfigurationError`.
    """

    given_as: Literal["flag", "argument"] = "argument"
    """What messages call a setting that was given by name."""

    def __init__(
        self,
        *,
        config_file: str | Path | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        **settings: Any,
    ) -> None:
        self.environ = os.environ if environ is None else environ
        self._flags = settings
        self._config_file = config_file
        self.settings = self._load()
        self.clock = clock or SystemClock()

    def api_key(self) -> str | None:
        """The key as the environment and the files have it now: they are read again, and it may have changed."""
        settings = self._load()
        return settings.api_key.reveal() if settings.api_key is not None else None

    def _load(self) -> Settings:
        return load(self._flags, self.environ, self._config_file, self.given_as)

    def client(self) -> NetraClient:
        """A new client with the synchronous methods of ``Netra.usage``; close it, or use it in ``with``."""
        return NetraClient(**self._client_arguments())

    def async_client(self, *, attempts: int | None = None) -> AsyncNetraClient:
        """A new client with the same methods for asyncio; close it, or use it in ``async with``.

        ``attempts`` are the tries of one call, by default as many as the settings say.
        """
        return AsyncNetraClient(**self._client_arguments(attempts))

    def converter(self, profile: str | None = None) -> SpanConverter:
        """A new converter with the configured privacy policy, and the configured profile or this one."""
        settings = self.settings
        privacy = Privacy(
            content=cast(Content, settings.content),
            redact=settings.redact,
            pii=cast(Pii, settings.pii),
            user=cast(User, settings.user),
        )
        return SpanConverter(cast(Profile, profile or settings.profile), privacy, usage_cost=settings.usage_cost)

    def window(self, *, since: str | None = None, from_: str | None = None, until: str | None = None) -> Window:
        """The range of time that ``since``, or ``from_`` and ``until``, mean; ``until`` is now if it is not given.

        Texts are ISO 8601 or a duration before now (``24h``). Milliseconds are the API's unit: the start is rounded
        down, the end up. Raises `UsageError`.
        """
        if (since is None) == (from_ is None):
            raise UsageError("a range of time is needed", hint="give either --since, or --from and perhaps --until")
        now_ns = self.clock.now_ns()
        start = parse_time_ns(from_ if since is None else since, now_ns)
        end = now_ns if until is None else parse_time_ns(until, now_ns)
        window = Window(start // 10**6 * 10**6, -(-end // 10**6) * 10**6)
        if window.start_ns >= window.end_ns:
            raise UsageError(
                f"the range is empty: it starts at {iso_ms(start)} and ends at {iso_ms(end)}",
                hint="the start must lie before the end",
            )
        return window

    def replay(
        self,
        to: To | Sequence[To] | None = None,
        *,
        since: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        query: TraceQuery | None = None,
        state: StateStore | None = None,
        verify: bool = False,
        on_progress: Callable[[LaneReport], None] | None = None,
        stop: threading.Event | None = None,
    ) -> ReplayReport:
        """Copy the traces of a range of time to ``to``, once; see `areplay`. Not for use inside a running event loop.

        ``stop`` may be set in any thread or in a signal handler: then nothing more is read, what is under way gets to
        be answered for some seconds, what is answered is recorded, and `Stopped` is raised, with the ``report``. Ctrl-C
        ends it in the same order, as ``KeyboardInterrupt``.
        """
        return run_here(
            self._copy(
                to,
                self.window(since=since, from_=from_, until=until),
                query,
                state,
                verify,
                on_progress,
                stop,
            )
        )

    async def areplay(
        self,
        to: To | Sequence[To] | None = None,
        *,
        since: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        query: TraceQuery | None = None,
        state: StateStore | None = None,
        verify: bool = False,
        on_progress: Callable[[LaneReport], None] | None = None,
    ) -> ReplayReport:
        """Copy the traces of a range of time to one or several destinations, once.

        ``to`` is a ``DEST`` of the command line, a ``SpanExporter`` or ``SpanProcessor`` of the caller's own (it is
        flushed, and not shut down), a function that takes the spans of a batch, or a `Destination`, each as it is or as
        `Named`; by default the configured ones. Each destination has its own lane: one that fails does not stop the
        others. Afterwards the first error of a lane is raised, with the whole report as its ``report``; spans that a
        destination refused are no error but counted in the report (``exit_code`` 3).

        ``state`` remembers what each destination has had, which is then not sent again, and what it refused. It is the
        caller's, else opened from the setting ``state``, else it lasts as long as the replay. With ``verify``, all is
        read a second time, and what Netra did not show the first time is sent. Cancelled, it gives what is under way
        some seconds to be answered, and records the answers. Raises `BridgeError`.
        """
        window = self.window(since=since, from_=from_, until=until)
        return await self._copy(to, window, query, state, verify, on_progress, None)

    async def _copy(
        self,
        to: To | Sequence[To] | None,
        window: Window,
        query: TraceQuery | None,
        state: StateStore | None,
        verify: bool,
        on_progress: Callable[[LaneReport], None] | None,
        stop: threading.Event | None,
    ) -> ReplayReport:
        started = self.clock.monotonic()
        async with AsyncExitStack() as stack:
            state = self._state(state, stack)
            watch = partial(_Progress, on_progress=on_progress) if on_progress is not None else LaneWatch
            routes = await self.routes(stack, to, (checked_query(query),), state, watch=watch)
            reports = [LaneReport(route.watch.name) for route in routes]
            lanes = all_of(
                self._replay(route, window, verify, report) for route, report in zip(routes, reports, strict=True)
            )
            stopped = await until_set(lanes, stop, self.clock)
        if stopped:
            error = Stopped("the replay was stopped before its end", hint="what was answered is recorded")
            error.report = self._report(reports, started, window, routes)
            raise error
        return self._reported(reports, started, window, routes)

    def _reported(
        self, reports: Sequence[LaneReport], started: float, window: Window | None = None, routes: Sequence[Route] = ()
    ) -> ReplayReport:
        """The report of all lanes; raises the first of their errors, with it."""
        report = self._report(reports, started, window, routes)
        for lane_report in reports:
            if lane_report.error is not None:
                lane_report.error.report = report
                raise lane_report.error
        return report

    def _report(
        self, reports: Sequence[LaneReport], started: float, window: Window | None, routes: Sequence[Route]
    ) -> ReplayReport:
        notes: dict[str, int] = {}
        for route in routes:
            for note, count in route.converter.counts.items():
                notes[note] = max(notes.get(note, 0), count)
        return ReplayReport(
            window=window,
            destinations=tuple(reports),
            api_calls=routes[0].client.stats.calls.total() if routes else 0,
            retries=sum(lane.retries for lane in reports) + (routes[0].client.stats.retries if routes else 0),
            seconds=self.clock.monotonic() - started,
            notes={note: count for note, count in sorted(notes.items()) if count},
        )

    def state_directory(self) -> Path:
        """Where what was delivered is remembered for good: the setting ``state``, else the user's or service's folder."""
        given = self.settings.state
        return Path(given).expanduser() if given is not None else state_home(self.environ)

    async def aresend(
        self,
        to: To | Sequence[To] | None = None,
        *,
        query: TraceQuery | None = None,
        state: StateStore | None = None,
        on_progress: Callable[[LaneReport], None] | None = None,
    ) -> ReplayReport:
        """Send the dead letters of one or several destinations again: what is delivered now is one no longer.

        Arguments and errors are those of `areplay`; Netra is not asked, and the report has no ``window``.
        """
        started = self.clock.monotonic()
        async with AsyncExitStack() as stack:
            state = self._state(state, stack)
            watch = partial(_Progress, on_progress=on_progress) if on_progress is not None else LaneWatch
            routes = await self.routes(stack, to, (checked_query(query),), state, watch=watch)
            reports = await all_of(resend(route.sender, route.progress, route.options, route.watch) for route in routes)
        return self._reported(reports, started)

    def open_state(self, default: Path | None = None) -> StateStore:
        """The state that the settings name, else the one at ``default``, else one that is gone when it is closed.

        Raises `StateError`.
        """
        if self.settings.state is None and default is None:
            return StateStore.temporary(self.clock)
        return StateStore.open(
            self.state_directory() if default is None or self.settings.state else default, self.clock
        )

    def _state(self, given: StateStore | None, stack: AsyncExitStack) -> StateStore:
        """The caller's, else one that ``stack`` closes. Raises `UsageError` for what is none."""
        if given is None:
            return stack.enter_context(self.open_state())
        if not isinstance(given, StateStore):
            raise UsageError(
                f"state is of type {type(given).__name__}",
                hint="give the directory to Bridge(state=...), or hand in what its open_state() returns",
            )
        return given

    def checkpoint_directory(self, to: Sequence[str], query: TraceQuery, range_text: str) -> Path:
        """Where a replay without ``state`` keeps what it has done until it is finished: a folder for each such replay.

        It is the same whenever the same traces of the same range, as it was typed, are copied to the same destinations.
        """
        what = [
            self.settings.endpoint,
            sorted(identity(one, self.environ) for one in to),
            query_text((query,)),
            range_text,
            self.settings.profile,
        ]
        name = blake2b(json.dumps(what).encode(), digest_size=8).hexdigest()
        return state_home(self.environ) / "replays" / name

    async def routes(
        self,
        stack: AsyncExitStack,
        to: To | Sequence[To] | None,
        queries: tuple[TraceQuery, ...],
        state: StateStore,
        *,
        client: AsyncNetraClient | None = None,
        watch: Callable[[str, LogLimit], LaneWatch] = LaneWatch,
        patient: bool = False,
        profile: str | None = None,
        writer: Executor | None = None,
    ) -> list[Route]:
        """One route for each destination, with one client and one writer of ``state``; ``stack`` gives them back.

        ``client`` is the caller's, else a new one. ``watch`` makes what a destination's lane tells, from its name. A ``patient``
        route waits for its destination as long as it takes. ``profile`` replaces the configured one; ``writer`` is the
        one thread that writes, else a new one.
        """
        settings = self.settings
        queries = tuple(map(checked_query, queries))
        targets = self.targets(to)
        destinations = [await self._enter(stack, one) for one in targets]
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
        limiter = LogLimit(self.clock)
        routes = []
        names = distinct_names(identity(one.name, self.environ) for one in destinations)
        for destination, name in zip(destinations, names, strict=True):
            seen = watch(destination.name, limiter)
            sender = Sender(
                destination, backoff=backoff, clock=self.clock, on_retry=seen.retrying,
                on_recovered=seen.recovered, on_warning=seen.warned, patient=patient,
            )  # fmt: skip
            stack.enter_context(state.alone(reader.base_url, name))
            progress = Recorder(state.lane(reader.base_url, name, query_text(queries)), writer, self.clock)
            routes.append(Route(reader, self.converter(profile), sender, queries, progress, options, seen))
        return routes

    def meter(
        self,
        client: AsyncNetraClient,
        state: StateStore,
        now_ns: Callable[[], int],
        queries: Sequence[TraceQuery] = (),
    ) -> Meter:
        """What meters the usage of tenants and sessions, as the settings say; ``now_ns`` is the time by Netra's clock.

        Where the settings name no tenants, it is those of ``queries``. Raises `StateError`.
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
        return Meter(client, MeterState(state, client.base_url), options, now_ns=now_ns, clock=self.clock)

    async def _replay(self, route: Route, whole: Window, verify: bool, report: LaneReport) -> None:
        """One pass over a range, without what was finished or followed long ago: nothing is awaited there any more.

        ``report`` grows meanwhile.
        """
        before_ns = self.clock.now_ns() - self.settings.remember_ns
        state = route.progress.lane
        final = [
            one.window for one in state.finished() if one.finished_ns < before_ns and one.window.end_ns < before_ns
        ]
        since_ns, watermark_ns = state.since_ns(), state.watermark_ns()
        if since_ns is not None and watermark_ns is not None:
            final.append(Window(since_ns, min(watermark_ns - self.settings.lookback_ns, before_ns)))
        windows = list(split(whole, self.settings.window_ns))
        due = without(windows, final)
        report.windows = report.final_windows = len(windows) - len(due)
        last_letter = state.last_letter()
        lane = route.lane()
        lane.report = report
        await lane.run(due)
        if verify and report.error is None:
            again = route.lane()
            try:
                await again.run(due, read_again=lambda _: True)
            finally:
                report.verified_by(again.report)
        if report.error is None:
            report.kept = state.kept_letters(last_letter)

    def read_spans(
        self,
        *,
        since: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        trace_id: str | None = None,
        query: TraceQuery | None = None,
        resume_token: str | None = None,
    ) -> Iterator[SpanChunk]:
        """The spans of a range of time, chunk after chunk; see `aread_spans`. Not for use inside a running event loop."""
        chunks = self.aread_spans(
            since=since, from_=from_, until=until, trace_id=trace_id, query=query, resume_token=resume_token
        )
        return iterate_here(chunks)

    async def aread_spans(
        self,
        *,
        since: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        trace_id: str | None = None,
        query: TraceQuery | None = None,
        resume_token: str | None = None,
    ) -> AsyncGenerator[SpanChunk, None]:
        """The spans of a range of time, or of one trace, in the order in which the traces start.

        Nothing is remembered here: the ``resume_token`` of a chunk, given with the same arguments, goes on behind it, in
        this process or another; times that were given as "now" or "before now" are those of the first call. Netra is
        read as far as the chunks are, and a little ahead. Raises `BridgeError`, and `NotKnown` for a trace of which
        Netra holds no span.
        """
        if trace_id is None:
            window = self.window(since=since, from_=from_, until=until)
        elif since is None and from_ is None and until is None and query is None:
            window = Window(0, 1)
        else:
            raise UsageError("a trace is read whole", hint="leave out the range and the query")
        async with self.async_client() as client:
            asked = [since, from_, until]
            stream = self.span_stream(
                client, checked_query(query), window, asked, trace_id, resume_token, ahead=self.settings.concurrency
            )
            async with aclosing(stream.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk

    def span_stream(
        self,
        client: AsyncNetraClient,
        query: TraceQuery,
        window: Window,
        asked: Sequence[object],
        trace_id: str | None = None,
        resume_token: str | None = None,
        profile: str | None = None,
        ahead: int = AHEAD,
        chunk_bytes: int = CHUNK_BYTES,
        pool: SharedBudget | None = None,
    ) -> SpanStream:
        """The stream behind `aread_spans`; ``asked`` is how the range was given, and must be the same on resuming.

        ``ahead`` traces are read at once, and ``chunk_bytes`` is what a chunk of several spans holds. What is held
        is a part of ``pool``. Raises `UsageError` for what is no token of this stream.
        """
        for name, text in (("trace_id", trace_id), ("resume_token", resume_token)):
            if not isinstance(text, str | None):
                raise UsageError(f"{name} is of type {type(text).__name__}", hint="give a text")
        if trace_id == "":
            raise UsageError("trace_id is empty", hint="leave it out, or give the id of a trace")
        what = [client.base_url, asked, query_text((query,)), trace_id, profile or self.settings.profile]
        of = blake2b(json.dumps(what).encode(), digest_size=8).hexdigest()
        start = place(resume_token, of) if resume_token else first_place(of, window)
        return SpanStream(
            client,
            self.converter(profile),
            query,
            start,
            trace_id=trace_id,
            ahead=ahead,
            chunk_bytes=chunk_bytes,
            pool=pool,
        )

    def estimate(
        self,
        *,
        since: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        query: TraceQuery | None = None,
    ) -> ReplayEstimate:
        """What `replay` of this range would cost: every trace is listed, `SAMPLE_TRACES` are read, nothing is sent."""
        return run_here(self.aestimate(since=since, from_=from_, until=until, query=query))

    async def aestimate(
        self,
        *,
        since: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        query: TraceQuery | None = None,
    ) -> ReplayEstimate:
        """`estimate`, for asyncio."""
        whole = self.window(since=since, from_=from_, until=until)
        windows = split(whole, self.settings.window_ns)
        async with self.async_client() as client:
            return await estimate(client, self.converter(), whole, windows, checked_query(query), self.clock)

    def destinations(self) -> tuple[str, ...]:
        """The configured destinations, as ``DEST`` texts. Raises `ConfigurationError` if there is none."""
        return tuple(one for one in self.targets(None) if isinstance(one, str))

    async def enter_destinations(self, stack: AsyncExitStack, to: To | Sequence[To] | None) -> list[Destination]:
        """The destinations of ``to``, by default the configured ones, open until ``stack`` gives them back."""
        return [await self._enter(stack, one) for one in self.targets(to)]

    async def _enter(self, stack: AsyncExitStack, to: To) -> Destination:
        if isinstance(to, str):
            destination = await opened(self.settings.destinations.get(to, to), name=to, environ=self.environ)
        else:
            destination = own_destination(to)
        stack.push_async_callback(destination.aclose)
        return destination

    def targets(self, to: To | Sequence[To] | None) -> list[To]:
        """What ``to`` names, by default the configured destinations, but for ``none``.

        Raises `ConfigurationError` if there is none, and `UsageError` for one that is there twice.
        """
        if to is None:
            to = self.settings.to
        given = list(to) if isinstance(to, Sequence) and not isinstance(to, str) else [to]
        targets = [one for one in given if not (isinstance(one, str) and one == "none")]
        if not targets:
            raise ConfigurationError("no destination is configured", hint="give --to, or set OTEL_TRACES_EXPORTER")
        check_handed_in_once(targets)
        return targets

    def _client_arguments(self, attempts: int | None = None) -> dict[str, Any]:
        settings: Settings = self.settings
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
        }


def replay(
    to: To | Sequence[To] | None = None,
    *,
    since: str | None = None,
    from_: str | None = None,
    until: str | None = None,
    query: TraceQuery | None = None,
    stop: threading.Event | None = None,
    **settings: Any,
) -> ReplayReport:
    """Copy the traces of a range of time to ``to``: a ``SpanExporter`` of your own, or a ``DEST`` of the command line.

    ``settings`` are those of `Bridge`; without any, the environment says where Netra is (``NETRA_API_KEY``,
    ``NETRA_OTLP_ENDPOINT``). Raises `BridgeError`; see `Bridge.areplay` for what ``to`` may be and what the report
    says, and `Bridge.replay` for ``stop``.
    """
    for name in settings.keys() & {"verify", "on_progress"}:
        raise UsageError(f"there is no setting {name}", hint=f"Bridge(...).replay(..., {name}=...) has it")
    return Bridge(**settings).replay(to, since=since, from_=from_, until=until, query=query, stop=stop)
