"""One lane of the service in this process: paging, pipeline, sender and SQLite are real; Netra and the peer are
objects.

A crash is exact. At a chosen moment (`DyingWriter`, `Peer`) the state's files are copied as SIGKILL would leave them
and `Killed` is raised. Whatever the dying lane does after that reaches neither the copy nor the peer.
"""

from __future__ import annotations

import asyncio
import io
import shutil
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from netra_otel_bridge.convert import SpanConverter
from netra_otel_bridge.core.clock import MINUTE_NS, NS_PER_S, Backoff
from netra_otel_bridge.core.errors import NetraUnavailable
from netra_otel_bridge.core.log_limit import LogLimit
from netra_otel_bridge.core.model.netra import SpansPage, TracesPage
from netra_otel_bridge.core.model.outcome import Delivered, Outcome, SpanBatch
from netra_otel_bridge.core.model.query import TraceQuery
from netra_otel_bridge.core.time_text import parse_time_ns
from netra_otel_bridge.deliver import Sender, checksum
from netra_otel_bridge.emulator.api import Api
from netra_otel_bridge.emulator.store import Store
from netra_otel_bridge.pipeline.follower import Follower
from netra_otel_bridge.pipeline.recorder import Recorder
from netra_otel_bridge.pipeline.route import LaneOptions, Route
from netra_otel_bridge.pipeline.watch import FollowerWatch
from netra_otel_bridge.pipeline.windows import Lookback
from netra_otel_bridge.source import AsyncNetraClient, schema
from netra_otel_bridge.source.arguments import trace_query
from netra_otel_bridge.source.calls import BodyRoom
from netra_otel_bridge.source.netra_clock import NetraClock
from netra_otel_bridge.state import StateStore
from tests.support.compare import Key, Normal, sent_by_id
from tests.support.fake_clock import FakeClock
from tests.support.oracle import Sent
from tests.support.waiting import DEADLINE_S

SETTLE_NS = 30 * NS_PER_S
LOOKBACK_NS = 24 * 3600 * NS_PER_S
PEER = "peer"
BATCH_SPANS = 4


class Killed(BaseException):
    """Raised when the process is killed. It is not an `Exception`, because nothing in the bridge may catch it."""


class Netra(AsyncNetraClient):
    """The real client, paging and decoders, on a store in this process.

    ``fails_in`` says how many calls from now one fails; ``failed`` counts failures. ``asked`` are the ranges that were
    listed, without the questions whether Netra lists a trace, and what time it is. The spans of ``bad`` traces cannot
    be shown. ``date_ns`` returns the time that an answer tells, ``None`` for none.
    """

    def __init__(self, store: Store, clock: FakeClock, windowing: Any = "traces") -> None:
        backoff = Backoff(attempts=1)
        super().__init__(api_key="k", endpoint="http://127.0.0.1:9", backoff=backoff, clock=clock)
        self.fails_in: int | None = None
        self.failed = 0
        self.date_ns: Callable[[], int | None] = lambda: None
        self.asked: list[tuple[int, int]] = []
        self.bad: set[str] = set()
        self._api = Api(store, windowing)

    def holding(self, room: BodyRoom) -> Netra:
        return self

    async def list_traces(
        self,
        start_time: Any,
        end_time: Any,
        trace_id: str | None = None,
        session_id: str | None = None,
        user_id: str | None = None,
        tenant_id: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        direction: Any = "down",
        sort_field: str | None = None,
        sort_order: Any = None,
        *,
        filters: Any = (),
    ) -> TracesPage:
        self._count()
        asked = parse_time_ns(start_time, 0), parse_time_ns(end_time, 0)
        is_time = limit == 1 and asked[1] - asked[0] == MINUTE_NS
        is_question = is_time or trace_id is not None or sort_order == "desc"
        if not is_question:
            self.asked.append(asked)
        ids = {"trace_id": trace_id, "session_id": session_id, "user_id": user_id, "tenant_id": tenant_id}
        body = trace_query(start_time, end_time, ids, filters, limit, cursor, direction, sort_field, sort_order)
        return schema.decode_traces(self._api.traces(body))

    async def list_spans_by_trace_id(
        self, trace_id: str, cursor: Any = None, direction: Any = "down", limit: Any = None, span_name: Any = None
    ) -> SpansPage:
        self._count()
        if trace_id in self.bad:
            raise NetraUnavailable("HTTP 500: this trace cannot be shown", status=500)
        asked = {"cursor": cursor, "direction": direction, "limit": str(limit), "spanName": span_name}
        body = self._api.spans(trace_id, {name: value for name, value in asked.items() if value is not None})
        return schema.decode_spans(body, trace_id)

    def _count(self) -> None:
        if self.fails_in is not None:
            self.fails_in -= 1
            if self.fails_in < 0:
                self.fails_in = None
                self.failed += 1
                raise NetraUnavailable("the test lets this call fail")
        date_ns = self.date_ns()
        if date_ns is not None:
            self._transport.exchange.on_date(date_ns, self._clock.monotonic())


TAKEN = Delivered()


@dataclass(frozen=True, slots=True)
class Decision:
    """The fate of one request: whether its spans are stored, what is answered (``None``: the process dies), and whether
    that answer is lost on the way.
    """

    outcome: Outcome | None = TAKEN
    stores: bool = True
    is_lost: bool = False


Judge = Callable[[SpanBatch], Decision]


def keys_of(batch: SpanBatch) -> list[Key]:
    """Return the ids of a batch's spans, in order."""
    return [(f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}") for span in batch.spans]


def accept(_: SpanBatch) -> Decision:
    """Accept the whole batch."""
    return Decision()


@dataclass(slots=True)
class Peer:
    """A destination. ``plan`` decides about the next requests, one each, ``judge`` about those after it; ``received``
    is everything it ever got.

    ``stored`` are the requests of the present life that it stored and answered, or died on: their spans, with the
    CRC-32 of their encodings. ``lost`` are those that it stored and whose answer was lost.
    """

    name: str = PEER
    plan: deque[Judge] = field(default_factory=deque)
    judge: Judge = accept
    received: list[tuple[tuple[Key, Normal], ...]] = field(default_factory=list)
    stored: list[dict[Key, int]] = field(default_factory=list)
    lost: list[frozenset[Key]] = field(default_factory=list)

    @property
    def sent(self) -> Sent:
        return Sent(tuple(self.received))


class Connection:
    """The peer as one life of the bridge sees it."""

    def __init__(self, peer: Peer, die: Callable[[], None], alive: Callable[[], bool]) -> None:
        self.name = peer.name
        self._peer = peer
        self._die = die
        self._alive = alive

    async def send(self, batch: SpanBatch) -> Outcome:
        await asyncio.sleep(0)
        if not self._alive():
            raise Killed
        decision = self._peer.plan.popleft()(batch) if self._peer.plan else self._peer.judge(batch)
        if decision.stores:
            spans = tuple(sent_by_id(batch.spans).items())
            self._peer.received.append(spans)
            if decision.is_lost:
                self._peer.lost.append(frozenset(key for key, _ in spans))
            else:
                self._peer.stored.append(dict(zip(keys_of(batch), map(checksum, batch.encoded), strict=True)))
        if decision.outcome is None:
            self._die()
            raise Killed
        await asyncio.sleep(0)
        return decision.outcome

    async def aclose(self) -> None:
        pass


class DyingWriter(Executor):
    """A writer that runs each job at once, in the caller's thread.

    The process dies ``dies_in`` transactions from now, just before that transaction becomes durable or, with ``after``,
    just after it.
    """

    def __init__(self, die: Callable[[], None], alive: Callable[[], bool]) -> None:
        self.dies_in: int | None = None
        self.after = False
        self._die = die
        self._alive = alive

    def submit(self, job: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(self._run(partial(job, *args, **kwargs)))
        except BaseException as error:
            done.set_exception(error)
        return done

    def _run(self, job: Callable[[], Any]) -> Any:
        if not self._alive():
            raise Killed
        dies = self.dies_in == 0
        if self.dies_in is not None:
            self.dies_in -= 1
        if dies and not self.after:
            self._die()
            raise Killed
        result = job()
        if dies:
            self._die()
            raise Killed
        return result


class PollClock(FakeClock):
    """The follower's clock. Each wait marks the end of a poll, and lasts until the test continues."""

    def __init__(self, shared: FakeClock) -> None:
        super().__init__()
        self._shared = shared
        self.resting = asyncio.Event()
        self.go_on = asyncio.Event()

    def now_ns(self) -> int:
        return self._shared.now_ns()

    def monotonic(self) -> float:
        return self._shared.monotonic()

    async def sleep(self, seconds: float) -> None:
        self.resting.set()
        await self.go_on.wait()
        self.go_on.clear()
        self.resting.clear()
        self._shared.elapsed_s += seconds


class Life:
    """One process of the bridge, from its start to its stop or crash. Use it inside one event loop."""

    def __init__(
        self, directory: Path, netra: Netra, peer: Peer, clock: FakeClock, since_ns: int, poll_ns: int
    ) -> None:
        peer.stored.clear()
        self.alive = True
        self.crashed: Path | None = None
        self.directory = directory
        self.store = StateStore.open(directory, clock)
        self.writer = DyingWriter(self.die, lambda: self.alive)
        self.clock = PollClock(clock)
        self.recorder = Recorder(self.store.lane(netra.base_url, peer.name), self.writer, clock)
        watch = FollowerWatch(peer.name, LogLimit(clock), clock, self.recorder)
        sender = Sender(
            Connection(peer, self.die, lambda: self.alive), backoff=Backoff(first_s=0.5), clock=clock,
            on_retry=watch.retrying, on_recovered=watch.recovered, patient=True,
        )  # fmt: skip
        options = LaneOptions(fetchers=2, batch_spans=BATCH_SPANS)
        route = Route(netra, SpanConverter("raw"), sender, (TraceQuery(),), self.recorder, options, watch)
        self.follower = Follower(
            route, watch, Lookback(SETTLE_NS, LOOKBACK_NS), poll_ns=poll_ns, window_ns=3600 * NS_PER_S,
            remember_ns=7 * LOOKBACK_NS, clock=self.clock, netra_clock=NetraClock(netra, clock, LogLimit(clock)), renew_key=lambda: 0,
        )  # fmt: skip
        self._task: asyncio.Task[None] | None = None
        self._since_ns = since_ns

    def die(self) -> None:
        """Kill the process here and now, and keep what the disk holds at this moment."""
        if self.alive:
            self.alive = False
            self.crashed = self.directory.with_name(self.directory.name + "-crashed")
            shutil.copytree(self.directory, self.crashed)

    async def poll(self) -> bool:
        """Run one poll, and return whether the life continues."""
        if self._task is None:
            self._task = asyncio.create_task(self.follower.run(self._since_ns))
        else:
            self.clock.go_on.set()
            self.clock.resting.clear()
        resting = asyncio.create_task(self.clock.resting.wait())
        await asyncio.wait({self._task, resting}, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_S)
        assert self._task.done() or resting.done(), f"a poll does not end\n{_stacks()}"
        resting.cancel()
        if self._task.done():
            await self._end()
            return False
        return True

    async def stop(self) -> None:
        """Stop in order, between two polls."""
        if self._task is not None:
            self._task.cancel()
            await self._end()
        self.store.close()

    async def _end(self) -> None:
        assert self._task is not None
        try:
            await self._task
        except (Killed, asyncio.CancelledError):
            pass
        finally:
            self._task = None
        if not self.alive:
            assert self.crashed is not None
            self.store.close()
            shutil.rmtree(self.directory)
            self.crashed.rename(self.directory)


def _stacks() -> str:
    """Return the stacks of all tasks of the loop."""
    text = io.StringIO()
    for task in asyncio.all_tasks():
        task.print_stack(limit=4, file=text)
    return text.getvalue()
