"""Sample traffic of an assistant that calls LLMs; the same seed gives the same traffic.

Each trace is a recipe. Its ids, start, session and tenant are computed from its number alone, so listing 100,000 traces
creates no spans; spans are created when they are read. A trace is a workflow that contains an agent, which does rounds
of retrieval (embedding, re-ranking), tools and chat, as in the recording of netra-sdk 1.2.2. A session is a
conversation of a few traces, with one user and one tenant. A few calls fail, some stream.

The last traces are `conversations`, one in each dialect, where there are enough traces and spans for them. Other spans
of the application fill them up to the number of spans that each trace has.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from netra_otel_bridge.emulator import sample_steps
from netra_otel_bridge.emulator.api_format import to_json
from netra_otel_bridge.emulator.conversations import CONVERSATIONS
from netra_otel_bridge.emulator.conversations.layout import Placed, place
from netra_otel_bridge.emulator.conversations.shapes import Conversation
from netra_otel_bridge.emulator.spans import Attributes, Event, Link, Plain, Span

_MASK = (1 << 64) - 1
_ODD = 0x9E3779B97F4A7C15
_ODD_INVERSE = pow(_ODD, -1, 1 << 64)
_TRACES_PER_SESSION = 4
_MAX_EXTENT_NS = 60_000_000_000
_CONVERSATION_TRACES = 5 * len(CONVERSATIONS)
_CONVERSATION_SPANS = range(max(one.root.count for one in CONVERSATIONS), 21)
"""Spans of a trace that can be a conversation: those of the longest, and a number that others may fill up to."""
_SDK_VERSIONS = {"python": "1.2.2", "javascript": "1.8.0"}
_INTERNAL, _CLIENT = 1, 3
_OK, _ERROR = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Amount and time of sample traffic: ``traces`` are spread over ``[end_ns - range_ns, end_ns)``."""

    seed: int
    traces: int
    spans_per_trace: int
    end_ns: int
    range_ns: int

    def recipes(self) -> Iterator[SampleTrace]:
        """Yield the traces, oldest first."""
        extent = min(_MAX_EXTENT_NS, self.range_ns // 4)
        step = (self.range_ns - extent) // max(self.traces, 1)
        first = self.end_ns - self.range_ns
        for number in range(self.traces):
            jitter = _mix(number + 1, self.seed) % max(step, 1)
            yield SampleTrace(number, first + number * step + jitter, extent, self)

    def locate(self, span_id: str) -> str | None:
        """Compute the id of the trace with this span id; ``None`` if there is none."""
        try:
            position = _unmix(int(span_id, 16), self.seed)
        except ValueError:
            return None
        number = (position - 1) // self.spans_per_trace
        return trace_id(number, self.seed) if 0 < position <= self.traces * self.spans_per_trace else None


def _mix(number: int, seed: int) -> int:
    """Map 64-bit numbers one to one, spreading neighbors far apart."""
    return ((number * _ODD) & _MASK) ^ ((seed * 0xD1342543DE82EF95 + 0x2545F4914F6CDD1D) & _MASK)


def _unmix(mixed: int, seed: int) -> int:
    return ((mixed ^ _mix(0, seed)) * _ODD_INVERSE) & _MASK


def trace_id(number: int, seed: int) -> str:
    """Return the id of trace ``number``: 32 hex digits."""
    return f"{_mix(number + 1, seed):016x}{_mix(number + 1, seed + 1):016x}"


@dataclass(frozen=True, slots=True)
class SampleTrace:
    """The recipe of one trace (see `store.Recipe`)."""

    number: int
    start_ns: int
    extent_ns: int
    traffic: Traffic

    @property
    def trace_id(self) -> str:
        return trace_id(self.number, self.traffic.seed)

    @property
    def latest_start_ns(self) -> int:
        return self.start_ns + self.extent_ns

    @property
    def count(self) -> int:
        return self.traffic.spans_per_trace

    @property
    def conversation(self) -> Conversation | None:
        """Return the conversation that the trace is, or ``None``."""
        traffic = self.traffic
        if traffic.traces < _CONVERSATION_TRACES or traffic.spans_per_trace not in _CONVERSATION_SPANS:
            return None
        at = self.number - (traffic.traces - len(CONVERSATIONS))
        return CONVERSATIONS[at] if at >= 0 else None

    @property
    def session(self) -> int:
        return self.number // _TRACES_PER_SESSION

    @property
    def session_id(self) -> str:
        return f"session-{self.traffic.seed}-{self.session:06d}"

    @property
    def tenant_id(self) -> str:
        return sample_steps.TENANTS[_mix(self.session + 1, self.traffic.seed) % len(sample_steps.TENANTS)]

    def spans(self) -> list[Span]:
        """Return the spans, the root first."""
        conversation = self.conversation
        return _Maker(self).make() if conversation is None else _Maker(self).converse(conversation)


class _Maker:
    """Creates the spans of one trace; ``_now`` is the current time within it."""

    def __init__(self, trace: SampleTrace) -> None:
        self._trace = trace
        self._random = random.Random(trace.traffic.seed * 1_000_003 + trace.number)  # noqa: S311  (not a secret)
        self._trace_id = trace.trace_id
        self._first_position = trace.number * trace.traffic.spans_per_trace + 1
        self._now = trace.start_ns
        # Upper limit of random gaps and durations; two of each fit into a span's share of the trace's extent.
        self._longest_ns = max(trace.extent_ns // (2 * trace.count + 2), 2)
        self._resource = sample_steps.RESOURCES[trace.session % len(sample_steps.RESOURCES)]
        self._question = sample_steps.QUESTIONS[self._random.randrange(len(sample_steps.QUESTIONS))]
        self._spans: list[Span] = []
        self._workflow = self._resource.attributes.plain["service.name"] + "-turn"
        self._common: Plain = {
            "library.name": "netra",
            "library.version": "1.2.2",
            "sdk.name": "netra",
            "netra.session_id": trace.session_id,
            "netra.user_id": f"user-{trace.session % 97:02d}",
            "netra.tenant_id": trace.tenant_id,
            "netra.workflow.name": self._workflow,
        }

    def make(self) -> list[Span]:
        count = self._trace.count
        root, agent = self._id(0), self._id(1)
        below = agent if count > 2 else root
        self._now += self._gap()
        steps = (
            sample_steps.EMBEDDING,
            sample_steps.RERANK,
            sample_steps.CHAT,
            sample_steps.TOOL,
            sample_steps.CHAT,
            sample_steps.TOOL,
        )
        for position in range(2 if count > 2 else 1, count):
            step = sample_steps.CHAT if position == count - 1 else steps[(position - 2) % len(steps)]
            self._step(step, self._id(position), below)
            self._now += self._gap()
        end = self._now
        failed = any(span.status_code == _ERROR for span in self._spans)
        answer = "" if failed else sample_steps.ANSWERS[self._question]
        if count > 2:
            self._spans.insert(0, self._parent(agent, root, sample_steps.AGENT, "AGENT", "agent", end, answer))
        self._spans.insert(0, self._parent(root, "", self._workflow, "SPAN", "workflow", end + 40_000, answer))
        return self._spans

    def converse(self, conversation: Conversation) -> list[Span]:
        """Return the spans of a conversation, which the user of this session had with another service."""
        self._resource = sample_steps.resource(conversation.service, "production")
        self._common["library.version"] = _SDK_VERSIONS[conversation.language]
        self._common["netra.workflow.name"] = conversation.root.name
        count = self._trace.count
        return [
            self._said(placed)
            for placed in place(conversation, count, self._random, self._trace.start_ns, self._longest_ns)
        ]

    def _said(self, placed: Placed) -> Span:
        call, duration = placed.call, placed.end_ns - placed.start_ns
        attributes = {**self._common, **call.attributes}
        if call.first_token is not None:
            attributes["gen_ai.performance.time_to_first_token"] = call.first_token(duration * 0.3 / 1e9)
        return self._span(
            self._id(placed.position),
            "" if placed.parent is None else self._id(placed.parent),
            call.name,
            _CLIENT if call.client else _INTERNAL,
            placed.start_ns,
            placed.end_ns,
            attributes,
            events=tuple(
                Event(one.name, placed.start_ns + int(duration * one.at), Attributes(one.attributes))
                for one in call.events
            ),
            status_code=_ERROR if call.error else _OK if call.client else 0,
            status_message=call.error,
        )

    def _id(self, position: int) -> str:
        return f"{_mix(self._first_position + position, self._trace.traffic.seed):016x}"

    def _gap(self) -> int:
        return self._random.randrange(self._longest_ns // 50 + 1)

    def _parent(self, span_id: str, parent: str, name: str, kind: str, entity: str, end: int, answer: str) -> Span:
        attributes = {
            **self._common,
            "netra.span.type": kind,
            "netra.entity.type": entity,
            "input": to_json({"q": self._question}),
            "output": answer,
        }
        start = self._trace.start_ns + (0 if parent == "" else self._longest_ns // 100)
        links: tuple[Link, ...] = ()
        if parent == "":
            attributes["netra.trace.llm.call"] = True
            if self._trace.number % _TRACES_PER_SESSION and self._random.random() < 0.1:
                links = (self._previous_turn(),)
        events = () if answer else (sample_steps.failure(end - 20_000),)
        return self._span(span_id, parent, name, _INTERNAL, start, end, attributes, events=events, links=links)

    def _previous_turn(self) -> Link:
        number, traffic = self._trace.number - 1, self._trace.traffic
        root = f"{_mix(number * traffic.spans_per_trace + 1, traffic.seed):016x}"
        return Link(trace_id(number, traffic.seed), root, Attributes({"link.reason": "previous_turn"}))

    def _step(self, step: str, span_id: str, parent: str) -> None:
        start = self._now
        self._now += self._longest_ns // 8 + self._random.randrange(self._longest_ns)
        made = sample_steps.step(step, self._random, self._question, start, self._now)
        attributes = {**self._common, "netra.agent.name": sample_steps.AGENT, **made.attributes}
        self._spans.append(
            self._span(
                span_id,
                parent,
                made.name,
                _CLIENT if made.client else _INTERNAL,
                start,
                self._now,
                attributes,
                events=made.events,
                status_code=_ERROR if made.error else _OK if made.client else 0,
                status_message=made.error,
            )
        )

    def _span(
        self,
        span_id: str,
        parent: str,
        name: str,
        kind: int,
        start: int,
        end: int,
        attributes: Plain,
        events: tuple[Event, ...] = (),
        links: tuple[Link, ...] = (),
        status_code: int = 0,
        status_message: str = "",
    ) -> Span:
        return Span(
            trace_id=self._trace_id,
            span_id=span_id,
            parent_id=parent,
            name=name,
            kind=kind,
            start_ns=start,
            end_ns=end,
            attributes=Attributes(attributes),
            resource=self._resource,
            events=events,
            links=links,
            status_code=status_code,
            status_message=status_message,
        )
