"""Read stores back and account for every span: from the state alone where there is one, else from Netra."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from netra_otel_bridge.bridge.queries import query_text
from netra_otel_bridge.bridge.wiring import Wiring
from netra_otel_bridge.convert import otlp_trace_id
from netra_otel_bridge.convert.fields import trace_id as parse_trace_id
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.model.readback import Kind, StoreReport, VerifyReport
from netra_otel_bridge.core.threads import in_thread, in_threads
from netra_otel_bridge.deliver import identity
from netra_otel_bridge.pipeline.expected_netra import ExpectedFromNetra, ListedTraces, SentFromNetra
from netra_otel_bridge.readback import wall
from netra_otel_bridge.readback.expected import ExpectedSpans
from netra_otel_bridge.readback.expected_state import ExpectedFromState
from netra_otel_bridge.readback.names import default_at, open_reader
from netra_otel_bridge.readback.reader import TraceReader
from netra_otel_bridge.readback.sampling import sample
from netra_otel_bridge.readback.sent_ids import SentIds
from netra_otel_bridge.readback.verify import OnProgress, verify_store
from netra_otel_bridge.source import AsyncNetraClient
from netra_otel_bridge.source.endpoint import base_url
from netra_otel_bridge.state import Answered, StateStore, has_destination, of_directory

ASK_ATTEMPTS = 2
"""Attempts to ask Netra how a span differs: without an answer, it differs all the same."""
At = str | TraceReader
OnStoreVerdict = Callable[[str, str, int, Kind], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Selects what to verify.

    ``followed`` are queries whose copied ranges count as copied, beside those of all traces and of ``queries``. If the
    range ``is_open``, it ends now. With ``whole_lane``, all that the state has of a destination is verified, which
    then has nothing but this range. ``at_random`` is the number of traces to verify, chosen at random; ``None`` for all.
    """

    window: Window
    queries: tuple[TraceQuery, ...] = (TraceQuery(),)
    followed: tuple[TraceQuery, ...] = (TraceQuery(),)
    is_open: bool = False
    whole_lane: bool = False
    at_random: int | None = None
    search: bool = True

    @property
    def trace_ids(self) -> list[str]:
        """Return the ids of the traces to verify, if nothing but ids was asked for."""
        if any(query != TraceQuery(trace_ids=query.trace_ids) or not query.trace_ids for query in self.queries):
            return []
        return list(dict.fromkeys(trace_id for query in self.queries for trace_id in query.trace_ids))


async def verify_stores(
    wiring: Wiring,
    stores: Sequence[tuple[str, At | None]],
    what: Verification,
    state: StateStore | None,
    *,
    client: AsyncNetraClient | None = None,
    on_progress: OnProgress | None = None,
    on_verdict: OnStoreVerdict | None = None,
) -> VerifyReport:
    """Verify each destination, given by its ``DEST`` or its name in the state, at its store, one after the other.

    Netra is asked through ``client``, by default through one of its own. ``on_verdict`` is called with the destination,
    Netra's id of the trace, the id of the span and the kind, for each span that is not intact. Raises the first error of
    a store, with the whole report as its ``report``.
    """
    started = wiring.clock.monotonic()
    reports: list[StoreReport] = []
    async with AsyncExitStack() as stack:
        readers = [(to, await enter_reader(stack, wiring, to, at)) for to, at in stores]
        netra = _Netra(wiring, stack, client)
        for to, reader in readers:
            source = _Source(wiring, netra, stack, what)
            expected = await source.expected(to, state)
            netra_id = source.sent_ids.netra_id
            report = await verify_store(
                reader,
                expected,
                await netra.sent(what.window, source.sent_ids),
                name=to,
                clock=wiring.clock,
                search=what.search,
                on_progress=on_progress,
                on_verdict=partial(_pass_on, on_verdict, to, netra_id) if on_verdict is not None else None,
            )
            report.notes[:0] = source.notes()
            reports.append(report)
        calls = netra.calls()
    whole = VerifyReport(what.window, tuple(reports), calls, wiring.clock.monotonic() - started)
    for one in reports:
        if one.error is not None:
            one.error.report = whole
            raise one.error
    return whole


def _pass_on(
    on_verdict: OnStoreVerdict, to: str, netra_id: Callable[[str], str], trace_id: str, span_id: int, kind: Kind
) -> None:
    on_verdict(to, netra_id(trace_id), span_id, kind)


async def check_stores(wiring: Wiring, stores: Iterable[tuple[str, At | None]]) -> None:
    """Open and close the reader of each store; nothing is connected. Raises `UsageError` and `ConfigurationError`."""
    async with AsyncExitStack() as stack:
        for to, at in stores:
            await enter_reader(stack, wiring, to, at)


async def enter_reader(stack: AsyncExitStack, wiring: Wiring, to: str, at: At | None) -> TraceReader:
    """Return the reader of a store, which ``stack`` closes unless it is the caller's own. Raises `UsageError`."""
    if at is not None and not isinstance(at, str):
        return at
    settings = wiring.settings
    found = at or default_at(settings.destinations.get(to, to))
    if found is None:
        raise UsageError(
            f"where {to} can be read back is not known",
            hint="give --at, such as --at jaeger+grpc://HOST:16685",
        )
    headers = {name: value.reveal() for name, value in settings.read_back_headers.items()}
    reader = open_reader(found, headers=headers, ca_file=settings.read_back_certificate)
    stack.push_async_callback(wall.close, reader)
    return reader


class _Netra:
    """The clients of Netra: the ``given`` one, else each is made when it is needed first, until ``stack`` closes it."""

    def __init__(self, wiring: Wiring, stack: AsyncExitStack, given: AsyncNetraClient | None) -> None:
        self._wiring = wiring
        self._stack = stack
        self._given = given.counting() if given is not None else None
        self._reading: AsyncNetraClient | None = self._given
        self._asking: AsyncNetraClient | None = self._given

    async def client(self) -> AsyncNetraClient:
        """Return the client that reads what is expected. Raises `ConfigurationError` if Netra is not configured."""
        if self._reading is None:
            self._reading = await self._stack.enter_async_context(self._wiring.async_client())
        return self._reading

    async def sent(self, scope: Window, sent_ids: SentIds) -> SentFromNetra | None:
        """Return what converts spans again, ``None`` if Netra is not configured."""
        settings = self._wiring.settings
        if settings.api_key is None or settings.endpoint is None:
            return None
        if self._asking is None:
            self._asking = await self._stack.enter_async_context(self._wiring.async_client(attempts=ASK_ATTEMPTS))
        return SentFromNetra(self._asking, self._wiring.converter(), scope, sent_ids, settings.held_bytes)

    def calls(self) -> int:
        """Return the number of calls to Netra so far."""
        if self._given is not None:
            return self._given.counted
        return sum(one.stats.calls.total() for one in (self._reading, self._asking) if one is not None)


class _Source:
    """Chooses what is expected of one store: what the state says was sent, or what Netra has."""

    def __init__(self, wiring: Wiring, netra: _Netra, stack: AsyncExitStack, what: Verification) -> None:
        self.sent_ids = SentIds()
        self._wiring = wiring
        self._netra = netra
        self._stack = stack
        self._what = what
        self._notes: list[str] = []
        self._listed: ListedTraces | None = None
        self._chosen_of = 0

    def notes(self) -> list[str]:
        """Return where the expectation came from, and of how many traces it is a sample."""
        seen = self._chosen_of or (self._listed.seen if self._listed is not None else 0)
        if self._what.at_random is None or seen <= self._what.at_random:
            return self._notes
        return [*self._notes, f"{self._what.at_random:,} traces were verified, at random, of {seen:,}"]

    async def expected(self, to: str, state: StateStore | None) -> ExpectedSpans:
        """Return what is expected. Raises `StateError`, and `UsageError` if a given state does not have it."""
        what = self._what
        answered, is_default = self._answered(to, state)
        if answered is not None:
            expected = await self._from_state(answered)
            if not is_default or await expected.gaps() != [what.window]:
                return expected
            self._notes.append(
                f"the state in {self._wiring.state_directory()} has nothing of this range: compared with Netra instead"
            )
        client = await self._netra.client()
        settings = self._wiring.settings
        self._listed = self._list(client, what.at_random)
        return ExpectedFromNetra(
            client,
            self._wiring.converter(),
            what.window,
            self._listed,
            self.sent_ids,
            held_bytes=settings.held_bytes,
            concurrency=settings.concurrency,
        )

    async def _from_state(self, answered: Answered) -> ExpectedFromState:
        what = self._what
        window = None if what.whole_lane or what.trace_ids else what.window
        return ExpectedFromState(
            answered,
            window,
            self.sent_ids,
            queries={
                "",
                query_text(what.followed),
                query_text(what.queries),
                *(query_text((query,)) for query in what.queries),
            },
            ids=await self._ids(answered, window),
            is_open=what.is_open,
        )

    async def _ids(self, answered: Answered, window: Window | None) -> AsyncIterator[Sequence[str]] | None:
        """Return the ids of the traces to verify, ``None`` for all that the state has."""
        what = self._what
        if what.trace_ids:
            return self._chosen(_one(await in_thread(_stored_ids, answered, what.trace_ids)))
        if not what.whole_lane and what.queries != (TraceQuery(),):
            self._listed = self._list(await self._netra.client(), what.at_random)
            return self._listed.ids()
        return None if what.at_random is None else self._chosen(in_threads(answered.ids(window)))

    async def _chosen(self, ids: AsyncIterator[Sequence[str]]) -> AsyncIterator[Sequence[str]]:
        if self._what.at_random is None:
            async for chunk in ids:
                yield chunk
            return
        chosen, self._chosen_of = await sample(ids, self._what.at_random)
        yield chosen

    def _list(self, client: AsyncNetraClient, at_random: int | None) -> ListedTraces:
        """Return the traces that Netra lists. Which were listed before is remembered on disk."""
        settings, what = self._wiring.settings, self._what
        seen = self._stack.enter_context(StateStore.temporary(self._wiring.clock)).lane("", "")
        seen.start_pass()
        return ListedTraces(client, what.window, settings.window_ns, what.queries, seen.first_listed, at_random)

    def _answered(self, to: str, state: StateStore | None) -> tuple[Answered | None, bool]:
        """Return what the state has of a destination, and whether that is the default state, which nobody named."""
        wiring = self._wiring
        settings = wiring.settings
        name = identity(to, wiring.environ)
        source = None
        if settings.endpoint is not None:
            source = base_url(settings.endpoint, allow_insecure=settings.allow_insecure)
        if state is not None:
            return state.answered(name, source, otlp_trace_id), False
        directory = wiring.state_directory()
        if settings.state is None and not has_destination(directory, name, source):
            return None, True
        return of_directory(directory, name, source, otlp_trace_id), settings.state is None


async def _one(ids: Sequence[str]) -> AsyncIterator[Sequence[str]]:
    yield ids


def _stored_ids(answered: Answered, given: Sequence[str]) -> list[str]:
    """Return the ids as the state has them: capitals and dashes make no other trace.

    An id that the state does not have stays as it is. Raises `StateError`.
    """
    forms = {one: _forms(one) for one in given}
    every = [form for some in forms.values() for form in some]
    stored = {trace.trace_id for chunk in answered.by_ids(every) for trace in chunk}
    return list(dict.fromkeys(next((form for form in some if form in stored), one) for one, some in forms.items()))


def _forms(given: str) -> list[str]:
    """Return the ways in which Netra may write the id of one trace, this one first."""
    value, is_own = parse_trace_id(given)
    if not is_own:
        return [given]
    digits = f"{value:032x}"
    return [given, given.lower(), digits, str(UUID(digits)), *([digits[16:]] if value < 2**64 else [])]
