"""The longest texts of a span that is too large are shortened as far as necessary and noted; all else stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from grpc import StatusCode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, Status
from opentelemetry.trace import StatusCode as SpanStatus

from netra_otel_bridge.convert.spans import Profile
from netra_otel_bridge.core.attribute_names import NOTES
from netra_otel_bridge.core.clock import Backoff
from netra_otel_bridge.core.model.converted import ConvertedSpan
from netra_otel_bridge.core.model.outcome import (
    Delivered,
    Outcome,
    Refused,
    SpanBatch,
    TooLarge,
)
from netra_otel_bridge.deliver import Answer, Sender, batch_of, encode_span
from netra_otel_bridge.deliver.answers import grpc_outcome
from netra_otel_bridge.deliver.trim import KEEP_BYTES, trim, trimmed_to, without_derived
from tests.support.batches import whole
from tests.support.compare import sent_by_id
from tests.support.converted import convert
from tests.support.examples import examples
from tests.support.fake_clock import FakeClock
from tests.support.span_strategies import spans
from tests.support.spans import context, make_span

long_texts = st.integers(0, 40_000).map(lambda n: "ü" * n) | st.integers(0, 40_000).map(lambda n: "x" * n)
contents = st.recursive(
    long_texts | st.integers(0, 9) | st.integers(0, 40_000).map(bytes),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text("ab", max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def untrimmed(span: ReadableSpan) -> dict[str, Any]:
    """Return everything of a span that trimming must not change; of values, only their types and number."""
    (normal,) = sent_by_id([span]).values()
    attributes = {key: shape(value) for key, value in normal.pop("attributes").items() if key != NOTES}
    events = [(time, name, shape(values), dropped) for time, name, values, dropped in normal.pop("events")]
    links = [(trace, name, shape(values), dropped) for trace, name, values, dropped in normal.pop("links")]
    code, _ = normal.pop("status")
    return normal | {"attributes": attributes, "events": events, "links": links, "code": code}


def shape(value: Any) -> Any:
    match value:
        case dict():
            return {key: shape(item) for key, item in value.items()}
        case ("array", items):
            return ("array", [shape(item) for item in items])
        case ("kvlist", items):
            return ("kvlist", shape(items))
        case ("string" | "bytes" as kind, _):
            return kind
        case _:
            return value


@settings(deadline=None, max_examples=examples(100), suppress_health_check=[HealthCheck.too_slow])
@given(
    spans(), st.dictionaries(st.text(min_size=1, max_size=5), contents, max_size=6), contents, st.integers(1, 60_000)
)
def test_only_long_values_are_trimmed_and_enough(
    whole: ReadableSpan, attributes: dict[str, Any], said: Any, excess: int
) -> None:
    """Trimming saves as much as requested, unless no long text is left; ids, names, times and types stay the same."""
    attributes = {key: value for key, value in attributes.items() if key != NOTES}
    whole = make_span(
        whole.context.span_id,
        name=whole.name,
        attributes={**attributes, **dict(whole.attributes or {})},
        events=[*whole.events, Event("said", {"text": said}, 5)],
        links=whole.links,
        start_ns=whole.start_time or 0,
        end_ns=whole.end_time,
        status=Status(SpanStatus.ERROR, "y" * (excess % 3000)),
        resource=whole.resource,
        scope=whole.scope if hasattr(whole, "scope") else whole.instrumentation_scope,
    )
    before = encode_span(whole)
    trimmed = trim(whole, excess)
    assert encode_span(whole) == before
    if trimmed is None:
        assert longest(whole) <= KEEP_BYTES
        return
    assert untrimmed(trimmed) == untrimmed(whole)
    assert len(before) - len(encode_span(trimmed)) >= excess or longest(trimmed) <= KEEP_BYTES
    notes = (trimmed.attributes or {})[NOTES]
    assert all(note.startswith("trimmed:") for note in notes)
    assert len(notes) <= 16


def longest(span: ReadableSpan) -> int:
    values: list[Any] = [dict(span.attributes or {}), span.status.description]
    values += [dict(holder.attributes or {}) for holder in (*span.events, *span.links)]
    return max(lengths(values), default=0)


def lengths(value: Any) -> list[int]:
    match value:
        case str():
            return [len(value.encode())]
        case bytes():
            return [len(value)]
        case dict():
            return [n for key, item in value.items() if key != NOTES for n in lengths(item)]
        case list() | tuple():
            return [n for item in value for n in lengths(item)]
        case _:
            return []


def test_the_longest_is_cut_first_and_named() -> None:
    """A prompt is cut before a short answer; a cut text ends with an ellipsis and is named in the notes."""
    span = make_span(1, attributes={"input": "i" * 50_000, "output": "o" * 9_000, "n": 7, NOTES: ("kind_unknown",)})
    trimmed = trim(span, 30_000)
    assert trimmed is not None
    kept = dict(trimmed.attributes or {})
    assert kept["output"] == "o" * 9_000
    assert kept["n"] == 7
    assert kept["input"].startswith("iiii")
    assert kept["input"].endswith("i…")
    assert kept[NOTES] == ("kind_unknown", "trimmed:input")


def test_texts_everywhere_are_cut_and_named_by_where_they_are() -> None:
    """Texts are cut in lists, maps, events, links and the status message: everywhere but in ids, names and keys."""
    big = "x" * 20_000
    span = make_span(
        1,
        attributes={"list": ("short", big), "map": {"deep": {"er": big}}, "bytes": b"b" * 20_000},
        events=[Event("message", {"content": big}, 1)],
        links=[Link(context(1, 2), {"why": big})],
        status=Status(SpanStatus.ERROR, big),
    )
    trimmed = trim(span, 110_000)
    assert trimmed is not None
    assert len(encode_span(trimmed)) < 12_000
    assert set((trimmed.attributes or {})[NOTES]) == {
        "trimmed:list", "trimmed:map", "trimmed:bytes", "trimmed:events.content", "trimmed:links.why", "trimmed:status",
    }  # fmt: skip
    assert (trimmed.attributes or {})["list"][0] == "short"
    assert len(trimmed.links) == len(trimmed.events) == 1


def test_a_text_is_cut_between_characters() -> None:
    """The rest is valid text, although the limit is within a character."""
    for excess in range(1, 9):
        trimmed = trim(make_span(1, attributes={"input": "😀" * 5_000}), 15_000 + excess)
        assert trimmed is not None
        text = str((trimmed.attributes or {})["input"])
        assert set(text) == {"😀", "…"}


def test_nothing_long_is_left_to_cut() -> None:
    """A span with ten thousand short attributes is not trimmed, because that would only make them useless."""
    assert trim(make_span(1, attributes={f"key {n}": "x" * 200 for n in range(10_000)}), 1_000_000) is None


def test_notes_stay_few_and_are_never_doubled() -> None:
    """The list of notes stays short for many texts and after trimming twice, and a foreign value under its key is kept."""
    span = make_span(1, attributes={NOTES: "not ours", **{f"{n} {'k' * 90}": "x" * (9_000 + n) for n in range(90)}})
    once = trim(span, 400_000)
    assert once is not None
    twice = trim(once, 200_000)
    assert twice is not None
    notes = list((twice.attributes or {})[NOTES])
    assert notes[0] == "not ours"
    assert len(set(notes)) == len(notes) <= 1 + 2 * 16
    assert max(map(len, notes)) < 100


def test_notes_are_not_content() -> None:
    """Earlier notes are neither cut nor a reason to trim."""
    long = "unreadable:" + "x" * 5_000
    trimmed = trim(make_span(1, attributes={NOTES: (long,), "input": "x" * 9_000}), 6_000)
    assert trimmed is not None
    assert (trimmed.attributes or {})[NOTES] == (long, "trimmed:input")
    assert trim(make_span(1, attributes={NOTES: (long,)}), 1_000) is None


class Limited:
    """A destination that accepts requests up to a size and answers larger ones as given."""

    name = "limited"

    def __init__(self, limit_bytes: int, said: Callable[[int], Outcome], refuses: bool = False) -> None:
        self._limit_bytes = limit_bytes
        self._said = said
        self._refuses = refuses
        self.requests: list[int] = []
        self.stored: list[ReadableSpan] = []

    async def send(self, batch: SpanBatch) -> Outcome:
        self.requests.append(batch.size_bytes)
        if batch.size_bytes > self._limit_bytes:
            return self._said(batch.size_bytes)
        if self._refuses:
            return Refused("and poisoned")
        self.stored += batch.spans
        return Delivered()

    async def aclose(self) -> None:
        """Do nothing: there is nothing to release."""


async def sent_to(limited: Limited, span: ReadableSpan) -> Answer[None]:
    answer: Answer[None] = Answer()
    backoff = Backoff(attempts=1)
    sender = Sender(limited, backoff=backoff, clock=FakeClock(), on_retry=lambda reason, delay: None)
    await sender.send(whole((span,)), answer)
    return answer


LIMIT = 4 << 20
SAID = [
    lambda size: grpc_outcome(
        StatusCode.RESOURCE_EXHAUSTED, f"grpc: received message larger than max ({size} vs. {LIMIT})"
    ),
    lambda size: grpc_outcome(
        StatusCode.RESOURCE_EXHAUSTED, f"grpc: received message after decompression larger than max {LIMIT}"
    ),
    lambda size: grpc_outcome(StatusCode.RESOURCE_EXHAUSTED, f"gRPC message exceeds maximum size {LIMIT}: {size}"),
    lambda size: grpc_outcome(
        StatusCode.OUT_OF_RANGE,
        f"Error, decoded message length too large: found {size} bytes, the limit is: {LIMIT} bytes",
    ),
    lambda size: grpc_outcome(
        StatusCode.RESOURCE_EXHAUSTED,
        f"RATE_LIMITED: ingestion rate limit ({LIMIT} bytes) exceeded while adding {size} bytes",
    ),
]


@pytest.mark.parametrize("said", SAID)
async def test_a_limit_that_is_named_is_met_with_one_trim(said: Callable[[int], Outcome]) -> None:
    """For the words of each gRPC implementation, the second request fits and is hardly smaller than allowed."""
    span = make_span(1, attributes={"input": "x" * 25_000_000, "user": "u-1"})
    limited = Limited(LIMIT, said)
    answer = await sent_to(limited, span)
    assert len(limited.requests) == 2
    assert 0.97 * LIMIT < limited.requests[1] <= LIMIT
    assert (answer.delivered, answer.trimmed, answer.dead, answer.refused) == (1, 1, [], 0)
    assert answer.size_bytes == limited.requests[1]
    assert answer.accepted[0].span is span
    assert f"from {limited.requests[0]} to {limited.requests[1]} bytes" in answer.problems[0]
    (stored,) = limited.stored
    assert (stored.attributes or {})[NOTES] == ("trimmed:input",)


async def test_a_limit_that_is_not_named_is_found_by_halving() -> None:
    """After a 413 without words, half is tried each time, at most six times."""
    span = make_span(1, attributes={"input": "x" * 2_000_000})
    limited = Limited(100_000, lambda size: TooLarge("HTTP 413"))
    answer = await sent_to(limited, span)
    assert answer.trimmed == 1
    assert len(limited.requests) == 6
    assert 50_000 < limited.requests[-1] <= 100_000
    hopeless = Limited(10, lambda size: TooLarge("HTTP 413"))
    answer = await sent_to(hopeless, span)
    assert len(hopeless.requests) == 7
    assert (answer.delivered, answer.trimmed) == (0, 0)
    assert [(one.span is span, one.reason) for one in answer.dead] == [(True, "HTTP 413")]


async def test_a_span_that_stays_too_large_is_dead_as_it_was() -> None:
    """If no long text is left, the dead letter has the whole span, not the trimmed one."""
    span = make_span(1, attributes={"input": "x" * 9_000, **{f"key {n}": "x" * 200 for n in range(1_000)}})
    limited = Limited(100_000, lambda size: TooLarge("HTTP 413"))
    answer = await sent_to(limited, span)
    assert len(limited.requests) == 2
    assert answer.dead[0].span is span
    assert answer.accepted == []
    assert answer.delivered == answer.trimmed == answer.size_bytes == 0


async def test_a_trimmed_span_that_is_refused_for_itself_is_dead_as_it_was() -> None:
    """A span can be too large and rejected for another reason."""
    span = make_span(1, attributes={"input": "x" * 9_000})
    answer = await sent_to(Limited(5_000, lambda size: TooLarge("HTTP 413"), refuses=True), span)
    assert [(one.span is span, one.reason) for one in answer.dead] == [(True, "and poisoned")]
    assert answer.trimmed == 0


PROMPT = "Tell me more. " * (1_600_000 // 14)
RECORDED = {
    "gen_ai.system": "openai",
    "gen_ai.prompt.0.role": "user",
    "gen_ai.prompt.0.content": PROMPT,
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": "Here is more.",
    "gen_ai.completion.0.finish_reason": "stop",
}


def large_call(profile: Profile = "both", **recorded: Any) -> ReadableSpan:
    """Convert a call to a model with a prompt of 1.6 MB."""
    return convert(profile, kind="GENERATION", model_name="gpt-4o", attributes={**RECORDED, **recorded})


GUESSES = [lambda size: TooLarge("too large"), lambda size: TooLarge("too large", limit_bytes=size * 2)]


@pytest.mark.parametrize("said", [*SAID, *GUESSES])
@pytest.mark.parametrize("limit_bytes", [LIMIT, 2_000_000, 1_604_000])
async def test_a_recorded_prompt_arrives_whole(said: Callable[[int], Outcome], limit_bytes: int) -> None:
    """If a span fits without copies of its messages, it is delivered with all that was recorded, and says what is left out."""
    span = large_call()
    limited = Limited(limit_bytes, lambda size: said(size) if limit_bytes == LIMIT else TooLarge("no", limit_bytes))
    answer = await sent_to(limited, span)
    assert (answer.delivered, answer.trimmed, answer.dead) == (1, 1, [])
    (stored,) = limited.stored
    kept = dict(stored.attributes or {})
    assert RECORDED.items() <= kept.items()
    assert all(note.startswith("dropped_derived:") for note in kept[NOTES])
    assert kept["gen_ai.operation.name"] == "chat"
    assert answer.accepted[0].span is span


async def test_a_guess_never_costs_what_was_recorded() -> None:
    """If the server names no limit and the recorded part is more than half of the span, it is sent alone before it is cut."""
    span = large_call("genai", extra="x" * 1_900_000)
    limited = Limited(LIMIT, lambda size: TooLarge("too large"))
    await sent_to(limited, span)
    (stored,) = limited.stored
    kept = dict(stored.attributes or {})
    assert limited.requests[1] > limited.requests[0] / 2
    assert kept[NOTES] == ("dropped_derived:gen_ai.input.messages",)
    assert kept["extra"] == "x" * 1_900_000
    assert kept["gen_ai.prompt.0.content"] == PROMPT


async def test_recorded_texts_are_cut_only_without_any_long_copy() -> None:
    """Once nothing long is derived, recorded texts are shortened; short derived facts stay."""
    limited = Limited(1_000_000, lambda size: TooLarge("too large", limit_bytes=1_000_000))
    await sent_to(limited, large_call())
    (stored,) = limited.stored
    kept = dict(stored.attributes or {})
    assert set(kept[NOTES]) == {
        "dropped_derived:gen_ai.input.messages",
        "dropped_derived:llm.input_messages",
        "dropped_derived:input.value",
        "trimmed:gen_ai.prompt.0.content",
    }
    assert not [key for key in kept if key.startswith("llm.input_messages")]
    assert kept["openinference.span.kind"] == "LLM"


def derived_span(recorded: dict[str, Any], derived: dict[str, Any]) -> ConvertedSpan:
    plain = make_span(1, attributes={**recorded, **derived})
    span = ConvertedSpan(plain.name, plain.context, attributes=plain.attributes, start_time=1, end_time=2)
    span.derived = tuple(derived)
    return span


def test_the_largest_derived_goes_first_and_no_more_than_needed() -> None:
    """A derived text is left out before a shorter one, which stays if that is enough."""
    span = derived_span({"a": "x" * 50_000}, {"copy": "x" * 9_000, "larger": "x" * 20_000})
    lighter = without_derived(span, 15_000)
    assert lighter is not None
    assert dict(lighter.attributes or {}).keys() == {"a", "copy", NOTES}
    assert (lighter.attributes or {})[NOTES] == ("dropped_derived:larger",)
    assert without_derived(make_span(1, attributes={"a": "x" * 50_000}), 15_000) is None


def test_short_facts_go_only_to_keep_what_was_recorded_whole() -> None:
    """Short derived attributes are left out together where that makes the span fit, and stay where it would not."""
    span = derived_span({"a": "x" * 50_000}, {f"fact {number}": "y" * 100 for number in range(20)})
    lighter = without_derived(span, 1_000)
    assert lighter is not None
    assert dict(lighter.attributes or {}) == {"a": "x" * 50_000, NOTES: ("dropped_derived:short",)}
    assert len(encode_span(span)) - len(encode_span(lighter)) >= 1_000
    assert without_derived(span, 5_000) is None


def test_parts_of_messages_are_left_out_with_all_of_them() -> None:
    """Numbered attributes, and the type of a value, are left out with those that mean nothing without them."""
    derived = {
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "x" * 20_000,
        "input.value": "x" * 9_000,
        "input.mime_type": "text/plain",
        "openinference.span.kind": "LLM",
    }
    lighter = without_derived(derived_span({}, derived), 28_900)
    assert lighter is not None
    assert dict(lighter.attributes or {}) == {
        "openinference.span.kind": "LLM",
        NOTES: ("dropped_derived:llm.input_messages", "dropped_derived:input.value"),
    }


@settings(deadline=None, max_examples=examples(100))
@given(
    st.dictionaries(st.text("ab.0", max_size=5).map("recorded".__add__), long_texts, max_size=4),
    st.dictionaries(st.text("cd.0", max_size=5).map("derived".__add__), long_texts | st.integers(0, 9), max_size=12),
    st.integers(1, 90_000),
)
def test_what_was_recorded_is_whole_unless_it_does_not_fit(
    recorded: dict[str, Any], derived: dict[str, Any], excess: int
) -> None:
    """A recorded text is shortened only if the span without long derived attributes would be too large."""
    span = derived_span(recorded, derived)
    whole_bytes = batch_of((span,)).size_bytes
    smaller = trimmed_to(batch_of((span,)), max(whole_bytes - excess, 1))
    if smaller is None:
        return
    kept = dict(smaller.spans[0].attributes or {})
    notes = kept.pop(NOTES, ())
    assert smaller.size_bytes <= max(whole_bytes - excess, 1)
    if not any(note.startswith("trimmed:") for note in notes):
        assert recorded.items() <= kept.items()
    else:
        assert all(len(str(value).encode()) <= KEEP_BYTES for key, value in kept.items() if key in derived)
        alone = batch_of((derived_span(recorded, {NOTES: notes}),)).size_bytes
        assert alone > whole_bytes - excess - 200


def test_a_copy_of_a_span_still_knows_what_is_derived() -> None:
    """A span that was trimmed once can be made smaller again in the same order."""
    span = derived_span({"a": "x" * 50_000}, {"copy": "x" * 9_000, "larger": "x" * 20_000})
    lighter = without_derived(span, 15_000)
    assert lighter is not None
    lightest = without_derived(lighter, 5_000)
    assert lightest is not None
    assert dict(lightest.attributes or {}).keys() == {"a", NOTES}
