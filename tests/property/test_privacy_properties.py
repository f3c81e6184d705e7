"""With ``content: drop``, nothing that may be content leaves: markers in every text are nowhere, and facts are still there."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.convert import Privacy, SpanConverter
from netra_otel_bridge.convert.allowed import EXCEPTION_TEXT, FACTS, MAX_COUNTED_KEYS
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary
from netra_otel_bridge.emulator import EmulatorOptions
from tests.support import llm_cases
from tests.support.cli import CANARY, environment, run
from tests.support.converted import TRACE_ID, attributes, netra_span
from tests.support.emulator import running_emulator
from tests.support.examples import examples, some
from tests.support.fake_destination import Received, Reject
from tests.support.judging_destination import JudgingDestination, span_ids
from tests.support.llm_cases import PROFILES, RECORDINGS

QUICK = settings(max_examples=examples(400), deadline=None, suppress_health_check=[HealthCheck.too_slow])
MARK = "Zqx7mark"
PROSE = f"tell me about my illness {MARK}"
DROP = Privacy(content="drop")
TEXT_COLUMNS = ("name", "session_id", "user_id", "tenant_id", "organisation_id", "project_id", "environment")
INDEX = re.compile(r"(?<=\.)\d+(?=\.|$)")
PROFILE = st.sampled_from(PROFILES)


def everything(span: ReadableSpan) -> str:
    """Return every field of a span, and its OTLP message, as one text."""
    assert span.context is not None
    assert span.resource is not None
    assert span.instrumentation_scope is not None
    parts = (
        span.name,
        span.status.description,
        dict(span.attributes or {}),
        [(event.name, dict(event.attributes or {})) for event in span.events],
        [(link.context.trace_state, dict(link.attributes or {})) for link in span.links],
        dict(span.resource.attributes),
        span.resource.schema_url,
        span.instrumentation_scope.name,
        span.instrumentation_scope.version,
        span.context.trace_state,
        encode_spans([span]).SerializeToString(),
    )
    return repr(parts)


def swapped(value: Any, text: Callable[[str], str]) -> Any:
    """Return a JSON value with each text in it replaced, keys left as they are."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return [swapped(item, text) for item in value]
    if isinstance(value, dict):
        return {key: swapped(item, text) for key, item in value.items()}
    return value


def with_prose(span: TraceSpan) -> TraceSpan:
    """Return a span of a recording whose every text, whatever its key, is a sentence with the mark."""
    columns: dict[str, Any] = {}
    for name in ("attributes", "events", "links", "metadata", "resources"):
        column = getattr(span, name)
        decoded = json.loads(column) if isinstance(column, str) else column
        columns[name] = json.dumps(swapped(decoded, lambda _: PROSE)) if decoded else column
    columns |= dict.fromkeys(TEXT_COLUMNS, PROSE) | {"model_name": PROSE, "created_at": PROSE}
    columns["events"] = [
        {"name": PROSE, "time_unix_nano": 1, "attributes": dict.fromkeys(("a", *EXCEPTION_TEXT), PROSE)},
        *(event | {"name": PROSE, "time_unix_nano": 1} for event in json.loads(columns["events"] or "[]")),
    ]
    columns["links"] = [{"trace_id": "1" * 32, "span_id": "2" * 16, "attributes": {"input": PROSE, "id": PROSE}}]
    columns["metadata"] = {"note": PROSE, PROSE: 1}
    columns["status"] = {"code": 2, "message": PROSE}
    return msgspec.structs.replace(span, **columns)


@functools.cache
def prose_spans(recording: str) -> tuple[TraceSpan, ...]:
    """Return the spans of a recording, each `with_prose`."""
    return tuple(with_prose(span) for span in llm_cases.spans(recording))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("recording", RECORDINGS)
def test_a_sentence_leaves_under_no_key(recording: str, profile: Any) -> None:
    """A sentence in every text of a recording, also under the names of facts, is in no part of what leaves."""
    converter = SpanConverter(profile, DROP)
    trace = TraceSummary(id=TRACE_ID, name=PROSE, service=PROSE)
    for span in prose_spans(recording):
        assert MARK not in everything(converter.convert(span, trace))
    assert MARK not in str((converter.counts, converter.dropped))


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("recording", RECORDINGS)
def test_a_word_leaves_under_known_names_alone(recording: str, profile: Any) -> None:
    """A single word, which looks like a fact, leaves under no name of a recording that is not known to hold facts."""
    converter = SpanConverter(profile, DROP)
    for span in llm_cases.spans(recording):
        recorded = json.loads(span.attributes) if isinstance(span.attributes, str) else span.attributes
        if isinstance(recorded, dict):
            recorded = [{"key": key, "value": value} for key, value in recorded.items()]
        marked = [
            pair if INDEX.sub("N", pair["key"]) in FACTS else swapped(pair, lambda _: MARK) | {"key": pair["key"]}
            for pair in recorded or []
        ]
        kept = everything(converter.convert(msgspec.structs.replace(span, attributes=marked, metadata={"x": MARK})))
        assert MARK not in kept


@pytest.mark.parametrize("recording", RECORDINGS)
def test_the_recorded_content_is_gone(recording: str) -> None:
    """The content of the recordings, which has its own marks, is in no profile's output."""
    for profile in PROFILES:
        converter = SpanConverter(profile, DROP)
        for span in llm_cases.spans(recording):
            assert "ZQX" not in everything(converter.convert(span))


NUMBER = 770_770_077
words = st.sampled_from([*"abc", "crew", "x_y", "note", "gen_ai", "llm", "http", "prompt", "db", "0", "17", "Answer"])
names = st.lists(words, min_size=1, max_size=5).map(".".join)
prose_keys = st.sampled_from([PROSE, f"{MARK}?", f"{MARK} ", f"где {MARK}", f"{MARK}@example.com", f'{{"{MARK}":1}}'])
any_keys = names | st.text(max_size=20) | st.sampled_from(["input", "gen_ai.prompt.0.content", "ai.value"])
unknown_keys = any_keys.filter(lambda key: INDEX.sub("N", key) not in FACTS)
leaves = st.sampled_from([MARK, PROSE, f'{{"a":"{MARK}"}}', f"https://a.example/?q={MARK}"])
nested = st.recursive(
    leaves,
    lambda inner: st.lists(inner, min_size=1, max_size=3) | st.dictionaries(any_keys, inner, min_size=1, max_size=3),
)
objects = st.dictionaries(unknown_keys, nested, max_size=4).flatmap(
    lambda found: st.dictionaries(prose_keys, st.just(1), max_size=1).map(lambda keys: {**found, **keys})
)
known_objects = st.dictionaries(
    st.sampled_from(sorted(FACTS)), st.sampled_from([PROSE, [PROSE], {"a": MARK}]), max_size=4
)


@QUICK
@given(one=objects | known_objects, other=objects, profile=PROFILE, as_text=st.booleans())
@example(one={"gen_ai.prompt.N.content": MARK}, other={"": MARK}, profile="both", as_text=True)
@example(one={"http.url": f"https://a:{MARK}@b.example/"}, other={}, profile="raw", as_text=False)
@example(one={"http.url": f"/search?q={MARK}", "url.path": f"/a%20{MARK}"}, other={}, profile="raw", as_text=False)
@example(one={"gen_ai.request.model": f"我头痛{MARK}"}, other={}, profile="genai", as_text=False)
@example(one={"host.name": ["why", "does", "my", MARK, "hurt"]}, other={}, profile="genai", as_text=False)
@example(one={"gen_ai.tool.name": f"why+does+my+{MARK}+hurt"}, other={}, profile="genai", as_text=False)
def test_what_somebody_invents_is_dropped(
    one: dict[str, Any], other: dict[str, Any], profile: Any, as_text: bool
) -> None:
    """Text under invented keys, prose in keys, and nested values leave in no part of a span."""
    column = json.dumps(one) if as_text else one
    event = {"name": "e", "time_unix_nano": 1, "attributes": one}
    link = {"trace_id": "1" * 32, "span_id": "2" * 16, "attributes": other}
    span = netra_span(attributes=column, events=[event], links=[link], resources=other, metadata=one)
    converter = SpanConverter(profile, DROP)
    assert MARK not in everything(converter.convert(span))
    assert MARK not in str((converter.counts, converter.dropped))


@pytest.mark.parametrize(
    "key",
    ["gen_ai.prompt.0.content", "input", "input.age", "tool.args.limit", "netra.custom.age", "netra.association.properties.n",
     "gen_ai.completion.0.score", "output", "embedding.vector", "retrieval.documents.0.document.metadata.n", "message"],
)  # fmt: skip
@pytest.mark.parametrize("value", [NUMBER, float(NUMBER), [NUMBER], [NUMBER, 1.5]])
def test_a_number_that_is_a_part_of_content_is_dropped(key: str, value: Any) -> None:
    """Numbers under the names of content and of the user's own data do not leave, alone or in a list."""
    for profile in PROFILES:
        span = SpanConverter(profile, DROP).convert(netra_span(attributes={key: value}, metadata={"n": value}))
        assert str(NUMBER) not in everything(span)


def test_vectors_do_not_leave_under_any_unknown_name() -> None:
    """A list of numbers may be an embedding, whose text can be restored; single numbers and truth values stay."""
    recorded = {"db.query.result.vector": [0.1, 0.2], "x.y": [1, 2], "x.n": 3, "x.ok": True, "gen_ai.prompt_tokens": 4}
    span = SpanConverter("raw", DROP).convert(netra_span(attributes=recorded))
    assert attributes(span) == {"x.n": 3, "x.ok": True, "gen_ai.prompt_tokens": 4}


def test_hostile_keys_are_counted_in_bounds() -> None:
    """Any number of invented keys takes a limited number of counters, and the total stays right."""
    converter = SpanConverter("raw", DROP)
    for number in range(3):
        converter.convert(netra_span(attributes={f"k{number}x{index}": "text" for index in range(1000)}))
    assert len(converter.dropped) <= MAX_COUNTED_KEYS + 1
    assert converter.dropped.total() == converter.counts["content_dropped"] == 3000
    assert converter.dropped["(other keys)"] == 2000


KEPT = {
    "gen_ai.request.model", "gen_ai.response.model", "gen_ai.system", "gen_ai.provider.name", "gen_ai.operation.name",
    "gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens", "gen_ai.usage.completion_tokens", "gen_ai.session.id",
    "llm.usage.total_tokens", "llm.token_count.total", "netra.session_id", "session.id", "gen_ai.conversation.id",
    "gen_ai.tool.name", "tool.name", "gen_ai.agent.name", "gen_ai.completion.N.tool_calls.N.name",
    "gen_ai.completion.N.finish_reason", "gen_ai.prompt.N.role", "netra.span.type", "openinference.span.kind",
    "netra.cost.total", "library.version", "server.address", "db.system", "netra.tenant_id", "gen_ai.response.id",
}  # fmt: skip


def test_facts_stay() -> None:
    """Models, tokens, costs, providers, operations, sessions, tools, agents and finish reasons are kept, but for prose."""
    with_all, with_drop = SpanConverter("both"), SpanConverter("both", DROP)
    lost: dict[str, set[Any]] = {}
    seen: set[str] = set()
    for recording in RECORDINGS:
        for span in llm_cases.spans(recording):
            left = attributes(with_drop.convert(span))
            for key, value in attributes(with_all.convert(span)).items():
                name = INDEX.sub("N", key)
                if name in KEPT:
                    seen.add(name)
                    if left.get(key) != value:
                        lost.setdefault(name, set()).add(value)
    assert seen == KEPT
    assert set[Any]().union(*lost.values()) <= {
        "Transcribed Text",
        "Harbour flow",
        "LLM",  # speech is a call to a model only with messages
        "text_completion",  # OpenInference tells it by its prompts alone; without them it is chat
        "handoff to tug",
        "pilot → tug.handoff",
    }


def test_what_is_known_of_a_failure_stays() -> None:
    """The code of a status and the type of an exception stay; what they say is dropped."""
    event = {
        "name": "exception",
        "time_unix_nano": 1,
        "attributes": {"exception.type": "ValueError", "exception.message": PROSE},
    }
    span = SpanConverter("genai", DROP).convert(netra_span(status={"code": 2, "message": PROSE}, events=[event]))
    assert (span.status.status_code.name, span.status.description) == ("ERROR", None)
    assert dict(span.events[0].attributes or {}) == {"exception.type": "ValueError"}
    assert attributes(span)["error.type"] == "ValueError"


def marked_document(recording: str) -> bytes:
    """Return a recording with a sentence in every text but the ids and the tenant, in OTLP JSON."""
    document = json.loads((llm_cases.FOLDER / f"{recording}{llm_cases.SUFFIX}").read_text())
    for resource_spans in document["resourceSpans"]:
        for holder in _holders(resource_spans):
            for pair in holder.get("attributes", []):
                if pair["key"] not in ("netra.tenant_id", "netra.tenant.id") and "stringValue" in (
                    pair.get("value") or {}
                ):
                    pair["value"]["stringValue"] = PROSE
            if "name" in holder:
                holder["name"] = PROSE
            if holder.get("status", {}).get("message"):
                holder["status"]["message"] = PROSE
    return json.dumps(document).encode()


def _holders(resource_spans: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield resource_spans.get("resource", {})
    for scope_spans in resource_spans["scopeSpans"]:
        yield scope_spans.get("scope", {})
        for span in scope_spans["spans"]:
            yield span
            yield from span.get("events", [])
            yield from span.get("links", [])


@pytest.mark.parametrize("profile", PROFILES)
def test_the_state_dead_letters_and_logs_hold_no_content(profile: str, tmp_path: Path) -> None:
    """Replayed to a destination that refuses some spans, no marked text is sent, stored or logged."""
    state = tmp_path / "state"
    documents = [tmp_path / f"{recording}.json" for recording in some(12, RECORDINGS)]
    for document in documents:
        document.write_bytes(marked_document(document.stem))

    def refuse(received: Received) -> Reject | None:
        refused = any(span_id[-1] in "123" for span_id in span_ids(received))
        return Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "no") if refused else None

    options = EmulatorOptions(port=0, load=documents, api_key=CANARY)
    with running_emulator(options) as netra, JudgingDestination(refuse) as destination:
        env = environment(
            netra.endpoint, NETRA_BRIDGE_CONTENT="drop", NETRA_BRIDGE_PROFILE=profile, NETRA_BRIDGE_WINDOW="365d"
        )
        command = ("--from", "2020-01-01", "--to", destination.http_url, "--state", str(state))
        result = run("replay", *command, "-v", "--json", env=env)
        shown = [
            run("state", "dead-letters", "--state", str(state), "--json", env=env),
            run("status", "--state", str(state), "--json", env=env),
        ]
        shown.append(run("replay", "--from", "2020-01-01", "--dry-run", "--json", env=env))
    (lane,) = result.json["destinations"]
    assert lane["dead_lettered"] > 0
    assert lane["delivered"] > 0
    assert result.json["notes"]["content_dropped"] > 0
    assert "gen_ai.request.model" in shown[-1].json["keys"]["dropped"]
    assert not [file for file in state.rglob("*") if file.is_file() and MARK.encode() in file.read_bytes()]
    assert all(MARK not in one.out + one.err for one in (result, *shown))
    assert all(MARK.encode() not in request.request.SerializeToString() for request in destination.received)
