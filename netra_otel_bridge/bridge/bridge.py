"""Entry point of the library.

from netra_otel_bridge import replay
report = replay(my_span_exporter, since="24h")
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any

from netra_otel_bridge.bridge.queries import checked_query
from netra_otel_bridge.bridge.replay import copy_range, resend_dead_letters
from netra_otel_bridge.bridge.verify import At, Verification, verify_stores
from netra_otel_bridge.bridge.wiring import Wiring
from netra_otel_bridge.core.blocking import blocking_here, blocking_iterator_here, run_here
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.outcome import SpanChunk
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.model.readback import VerifyReport
from netra_otel_bridge.core.model.report import LaneReport, ReplayEstimate, ReplayReport
from netra_otel_bridge.core.time_text import iso_ms, parse_time_ns
from netra_otel_bridge.deliver import To
from netra_otel_bridge.pipeline.estimate import estimate
from netra_otel_bridge.pipeline.windows import split
from netra_otel_bridge.readback.verify import VerifyProgress
from netra_otel_bridge.state import StateStore


class Bridge(Wiring):
    """Connects Netra to any destination, with one configuration.

    Settings are given by name (as ``config show`` lists them: ``api_key``, ``endpoint``, ``profile``, ``concurrency``
    ...), else read from ``environ``, else from ``config_file``. Raises `UsageError`, `ConfigurationError`.
    """

    def window(self, *, since: str | None = None, from_: str | None = None, until: str | None = None) -> Window:
        """Return the time range from ``since`` or ``from_`` to ``until``, by default now.

        A text is ISO 8601 or a duration before now (``24h``). The API counts milliseconds: the start is rounded down,
        the end up. Raises `UsageError`.
        """
        if since is not None and from_ is not None:
            raise UsageError("the start of the range is given twice", hint="give either --since or --from")
        if since is None and from_ is None:
            raise UsageError("no time range is given", hint="give either --since, or --from and perhaps --until")
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
        reread: bool = False,
        verify: bool | None = None,
        on_progress: Callable[[LaneReport], None] | None = None,
        stop: threading.Event | None = None,
    ) -> ReplayReport:
        """Copy the traces of a range of time to ``to``, once; see `areplay`. Not for use inside a running event loop.

        ``stop`` may be set in any thread or in a signal handler. The replay then stops reading, gives batches in flight
        some seconds to be acknowledged, records the acknowledgements, and raises `Stopped` with the ``report``. Ctrl-C
        ends it the same way, with ``KeyboardInterrupt``.
        """
        reread = _reread(reread, verify)
        window = self.window(since=since, from_=from_, until=until)
        return run_here(
            copy_range(self, to, window, query, state, reread=reread, on_progress=on_progress, stop=stop),
            instead="areplay",
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
        reread: bool = False,
        verify: bool | None = None,
        on_progress: Callable[[LaneReport], None] | None = None,
    ) -> ReplayReport:
        """Copy the traces of a range of time to one or several destinations, once.

        ``to`` is a ``DEST`` of the command line, your own ``SpanExporter`` or ``SpanProcessor`` (it is flushed, but not
        shut down), a function that is called with the spans of a batch, or a `Destination`. Wrap it in `Named` to give
        it a name. The default is the configured destinations. Each destination has its own lane, so one that fails does
        not stop the others. The first error of a lane is raised at the end, with the whole report as its ``report``.
        Spans that a destination rejects are not an error: the report counts them (``exit_code`` 3).

        ``state`` records what each destination received, so that it is not sent again, and what it rejected. Pass your
        own, or configure one with the setting ``state``; otherwise it is deleted after the replay. With ``reread``,
        everything is read a second time, and what Netra did not list the first time is sent; ``verify`` is its old name. On cancellation, batches
        in flight have some seconds to be acknowledged, and the acknowledgements are recorded. Raises `BridgeError`.
        """
        reread = _reread(reread, verify)
        window = self.window(since=since, from_=from_, until=until)
        return await copy_range(self, to, window, query, state, reread=reread, on_progress=on_progress)

    async def aresend(
        self,
        to: To | Sequence[To] | None = None,
        *,
        query: TraceQuery | None = None,
        state: StateStore | None = None,
        on_progress: Callable[[LaneReport], None] | None = None,
    ) -> ReplayReport:
        """Send the dead letters of one or several destinations again; a delivered one is removed.

        Arguments and errors are those of `areplay`. Netra is not read, and the report has no ``window``.
        """
        return await resend_dead_letters(self, to, query, state, on_progress)

    async def averify(
        self,
        to: str,
        *,
        at: At | None = None,
        since: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        query: TraceQuery | Sequence[TraceQuery] | None = None,
        at_random: int | None = None,
        search: bool = True,
        state: StateStore | None = None,
        on_progress: Callable[[VerifyProgress], None] | None = None,
    ) -> VerifyReport:
        """Read a destination back, and account for every span of a range of time. Nothing is written anywhere.

        ``to`` is the ``DEST`` that the spans were sent to, or the name of your own destination. ``at`` names the store, as
        `jaeger+grpc://HOST:16685`, or is your own `TraceReader`; a file is its own store. What was sent is known from the
        ``state`` that you pass, else from the setting ``state``, else from the default state if it has this range.
        Otherwise it is what Netra has now. With a state, Netra is asked only how spans differ, and which traces fulfil a
        ``query``. Several queries are joined with "or". With ``at_random``, only so many traces are verified.

        The report says what is missing, cut or changed, and why; that is no error (``exit_code`` 3). An error of the
        store, of Netra or of the state is raised, with the whole report as its ``report``. Raises `BridgeError`.
        """
        queries = query if isinstance(query, list | tuple) else (query,)
        what = Verification(
            window=self.window(since=since, from_=from_, until=until),
            queries=tuple(map(checked_query, queries)),
            is_open=until is None,
            at_random=at_random,
            search=search,
        )
        return await verify_stores(self, [(to, at)], what, state, on_progress=on_progress)

    verify = blocking_here(averify)

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
        """Yield the spans of a range of time, or of one trace, in chunks, ordered by the start of their traces.

        Nothing is stored. To resume after a chunk, in this process or another, pass its ``resume_token`` with the same
        arguments; times relative to now keep the values that they had in the first call. Reading runs only a little
        ahead of the chunks that you consume. Raises `BridgeError`, and `NotKnown` for a trace without spans.
        """
        if trace_id is None:
            window = self.window(since=since, from_=from_, until=until)
        elif since is None and from_ is None and until is None and query is None:
            window = Window(0, 1)
        else:
            raise UsageError("trace_id excludes a range and a query", hint="omit the range and the query")
        async with self.async_client() as client:
            asked = [since, from_, until]
            stream = self.span_stream(
                client, query, window, asked, trace_id, resume_token, ahead=self.settings.concurrency
            )
            async with aclosing(stream.chunks()) as chunks:
                async for chunk in chunks:
                    yield chunk

    read_spans = blocking_iterator_here(aread_spans)

    async def aestimate(
        self,
        *,
        since: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        query: TraceQuery | None = None,
    ) -> ReplayEstimate:
        """Estimate a `replay` of this range: list every trace, read `SAMPLE_TRACES` of them, send nothing."""
        whole = self.window(since=since, from_=from_, until=until)
        windows = split(whole, self.settings.window_ns)
        async with self.async_client() as client:
            return await estimate(client, self.converter(), whole, windows, checked_query(query), self.clock)

    estimate = blocking_here(aestimate)


def _reread(reread: bool, verify: bool | None) -> bool:
    """Return whether to read everything a second time, also if the caller uses the old name of this argument."""
    if verify is not None:
        warnings.warn("verify= of a replay is called reread=; averify() reads the destination", DeprecationWarning, 3)
    return reread or bool(verify)


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
    """Copy the traces of a range of time to ``to``: your own ``SpanExporter``, or a ``DEST`` of the command line.

    ``settings`` are those of `Bridge`. Without any, the environment says where Netra is (``NETRA_API_KEY``,
    ``NETRA_OTLP_ENDPOINT``). Raises `BridgeError`. See `Bridge.areplay` for ``to`` and the report, and `Bridge.replay`
    for ``stop``.
    """
    for name in settings.keys() & {"reread", "verify", "on_progress"}:
        raise UsageError(f"there is no setting {name}", hint=f"Bridge(...).replay(..., {name}=...) has it")
    return Bridge(**settings).replay(to, since=since, from_=from_, until=until, query=query, stop=stop)
