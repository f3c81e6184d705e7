"""The table of ``docs/mapping.md``, row by row, for each profile."""

from __future__ import annotations

import json
from typing import Any

import pytest

from netra_otel_bridge.convert import SpanConverter
from tests.support.converted import attributes, convert, netra_span, recorded_otlp, recorded_spans

PROFILES = ("raw", "genai", "openinference", "both")
EVERY_COLUMN: dict[str, Any] = {
    "kind": "GENERATION",
    "organisation_id": "org",
    "project_id": "proj",
    "session_id": "sess",
    "tenant_id": "acme",
    "user_id": "ada",
    "environment": "prod",
    "model_name": "gpt-4o",
    "prompt_tokens": 42,
    "completion_tokens": 12,
    "cached_tokens": 16,
    "total_tokens": 54,
    "prompt_tokens_cost": 0.1,
    "completion_tokens_cost": 0.2,
    "cached_tokens_cost": 0.05,
    "total_cost": 0.35,
    "has_pii": True,
    "pii_entities": ["EMAIL"],
    "pii_actions": {"EMAIL": ["MASK"]},
    "has_violation": True,
    "violations": ["toxicity"],
    "violation_actions": {"toxicity": ["BLOCK"]},
    "status": "ERROR",
    "has_error": True,
    "metadata": {"plan": "gold"},
    "created_at": "2025-11-16T00:00:02Z",
}
NETRA = {
    "netra.span.type": "GENERATION",
    "session.id": "sess",
    "user.id": "ada",
    "netra.tenant.id": "acme",
    "netra.usage.total_tokens": 54,
    "netra.cost.prompt": 0.1,
    "netra.cost.completion": 0.2,
    "netra.cost.cached": 0.05,
    "netra.cost.total": 0.35,
    "netra.pii.detected": True,
    "netra.pii.entities": ("EMAIL",),
    "netra.pii.actions": '{"EMAIL":["MASK"]}',
    "netra.violation.detected": True,
    "netra.violation.types": ("toxicity",),
    "netra.violation.actions": '{"toxicity":["BLOCK"]}',
    "netra.metadata.plan": "gold",
    "netra.created_at": "2025-11-16T00:00:02Z",
}
GENAI = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.conversation.id": "sess",
    "gen_ai.usage.input_tokens": 42,
    "gen_ai.usage.output_tokens": 12,
    "gen_ai.usage.cache_read.input_tokens": 16,
    "error.type": "_OTHER",
}
OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "gpt-4o",
    "llm.token_count.prompt": 42,
    "llm.token_count.completion": 12,
    "llm.token_count.prompt_details.cache_read": 16,
    "llm.token_count.total": 54,
    "llm.cost.prompt": 0.1,
    "llm.cost.completion": 0.2,
    "llm.cost.prompt_details.cache_read": 0.05,
    "llm.cost.total": 0.35,
    "metadata": '{"plan":"gold","tenant_id":"acme"}',
}


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ("raw", {}),
        ("genai", NETRA | GENAI),
        ("openinference", NETRA | OPENINFERENCE),
        ("both", NETRA | GENAI | OPENINFERENCE),
    ],
)
def test_each_profile_adds_its_columns_and_nothing_else(profile: Any, expected: dict[str, Any]) -> None:
    """With every column set, a span has exactly the keys and values of the table."""
    found = attributes(convert(profile, **EVERY_COLUMN))
    assert found == expected
    assert {key: type(value) for key, value in found.items()} == {key: type(value) for key, value in expected.items()}


@pytest.mark.parametrize("profile", PROFILES)
def test_columns_that_are_absent_add_nothing(profile: Any) -> None:
    """``None`` is not ``0``: a span without columns gets only its OpenInference kind."""
    expected = {"openinference.span.kind": "CHAIN"} if profile in ("openinference", "both") else {}
    assert attributes(convert(profile)) == expected


def test_zero_is_a_value() -> None:
    """A cost and a count of zero are written, as ``0``."""
    found = attributes(convert("both", kind="USAGE", prompt_tokens=0, total_tokens=0, total_cost=0.0, has_pii=False))
    assert found["gen_ai.usage.input_tokens"] == 0
    assert found["netra.usage.total_tokens"] == 0
    assert found["netra.cost.total"] == 0.0
    assert found["llm.cost.total"] == 0.0
    assert found["netra.pii.detected"] is False
    assert "gen_ai.usage.output_tokens" not in found
    assert "netra.cost.prompt" not in found


@pytest.mark.parametrize("profile", PROFILES)
def test_what_was_recorded_is_never_overwritten(profile: Any) -> None:
    """A recorded value is kept under every name that a profile would add."""
    recorded = dict.fromkeys(NETRA | GENAI | OPENINFERENCE | {"gen_ai.usage.cost": 1}, "mine")
    recorded["netra.span.type"] = "GENERATION"
    found = attributes(convert(profile, usage_cost=True, attributes=recorded, **EVERY_COLUMN))
    assert {key: found[key] for key in recorded} == recorded


def test_the_cost_convention_is_written_on_request() -> None:
    """``gen_ai.usage.cost`` is not part of any convention, so it is added only on request."""
    assert "gen_ai.usage.cost" not in attributes(convert(total_cost=0.35))
    assert attributes(convert(total_cost=0.35, usage_cost=True))["gen_ai.usage.cost"] == 0.35


@pytest.mark.parametrize(
    ("kind", "operation", "name_key", "openinference"),
    [
        ("GENERATION", "chat", None, "LLM"),
        ("EMBEDDING", "embeddings", None, "EMBEDDING"),
        ("TOOL", "execute_tool", "gen_ai.tool.name", "TOOL"),
        ("AGENT", "invoke_agent", "gen_ai.agent.name", "AGENT"),
        ("SPAN", None, None, "CHAIN"),
        ("USAGE", None, None, "CHAIN"),
    ],
)
@pytest.mark.parametrize("where", ["column", "attribute"])
def test_the_type_of_a_span_in_both_vocabularies(
    kind: str, operation: str | None, name_key: str | None, openinference: str, where: str
) -> None:
    """The type comes from the column, or, if that is an OTel kind, from ``netra.span.type``."""
    columns: dict[str, Any] = (
        {"kind": kind} if where == "column" else {"kind": "SERVER", "attributes": {"netra.span.type": kind}}
    )
    found = attributes(convert("both", **columns))
    assert found.get("gen_ai.operation.name") == operation
    assert found["openinference.span.kind"] == openinference
    assert found["netra.span.type"] == kind
    if name_key:
        assert found[name_key] == "step"
        assert found[name_key.removeprefix("gen_ai.")] == "step"
    else:
        assert not {"gen_ai.tool.name", "gen_ai.agent.name", "tool.name", "agent.name"} & found.keys()


@pytest.mark.parametrize(
    ("request_type", "operation"), [("chat", "chat"), ("completion", "text_completion"), ("embedding", "embeddings")]
)
def test_the_operation_comes_from_the_request_type(request_type: str, operation: str) -> None:
    """``llm.request.type`` is more exact than the kind."""
    found = attributes(convert(kind="GENERATION", attributes={"llm.request.type": request_type}))
    assert found["gen_ai.operation.name"] == operation


def test_an_agent_is_called_as_it_was_recorded() -> None:
    """The agent's name is ``netra.agent.name``, else the span's name."""
    found = attributes(convert("both", kind="AGENT", attributes={"netra.agent.name": "planner"}))
    assert found["gen_ai.agent.name"] == found["agent.name"] == "planner"


@pytest.mark.parametrize(
    ("recorded", "provider"),
    [
        ("openai", "openai"),
        ("OpenAI", "openai"),
        ("az.ai.openai", "azure.ai.openai"),
        ("vertex_ai", "gcp.vertex_ai"),
        ("gemini", "gcp.gemini"),
        ("xai", "x_ai"),
        ("AWS", "aws.bedrock"),
        ("mistralai", "mistral_ai"),
        ("Langchain", "Langchain"),
        ("stability", "stability"),
    ],
)
def test_the_provider_is_normalised_and_never_guessed(recorded: str, provider: str) -> None:
    """Known names become those of the conventions, others stay, and without one there is none."""
    found = attributes(convert("both", kind="GENERATION", model_name="gpt-4o", attributes={"gen_ai.system": recorded}))
    assert found["gen_ai.provider.name"] == provider
    assert found["gen_ai.system"] == recorded
    none = attributes(convert("both", kind="GENERATION", model_name="gpt-4o"))
    assert not {"gen_ai.provider.name", "llm.system", "llm.provider", "gen_ai.response.model"} & none.keys()


def test_an_embedding_names_its_model() -> None:
    """OpenInference has its own name for the embedding model."""
    found = attributes(convert("openinference", kind="EMBEDDING", model_name="e-3"))
    assert found["embedding.model_name"] == "e-3"
    assert "llm.model_name" not in found


def test_the_request_model_as_recorded_comes_before_the_column() -> None:
    """The column is used only if nothing was recorded."""
    found = attributes(convert(kind="GENERATION", model_name="priced", attributes={"gen_ai.request.model": "asked"}))
    assert found["gen_ai.request.model"] == "asked"


def test_older_dialects_appear_under_todays_names_too() -> None:
    """Tokens come from Netra's column, else from any recorded dialect; old names stay."""
    recorded = {
        "gen_ai.usage.prompt_tokens": 42,
        "gen_ai.usage.completion_tokens": 12,
        "gen_ai.usage.cache_read_input_tokens": 16,
        "llm.usage.total_tokens": 54,
    }
    found = attributes(convert("both", kind="GENERATION", attributes=recorded))
    assert found.items() >= recorded.items()
    assert [found[key] for key in GENAI if "usage" in key] == [42, 12, 16]
    assert [found[key] for key in OPENINFERENCE if "token_count" in key] == [42, 12, 16, 54]
    assert found["netra.usage.total_tokens"] == 54
    assert attributes(convert(prompt_tokens=1, attributes=recorded))["gen_ai.usage.input_tokens"] == 1


@pytest.mark.parametrize("kind", ["AGENT", "SPAN", "TOOL"])
def test_only_spans_that_count_carry_openinference_sums(kind: str) -> None:
    """A parent that repeats its children's tokens gets no counts that a view would add up."""
    found = attributes(convert("openinference", kind=kind, prompt_tokens=42, total_cost=0.3))
    assert not [key for key in found if key.startswith(("llm.token_count", "llm.cost"))]


MESSAGES = {
    "gen_ai.prompt.0.role": "user",
    "gen_ai.prompt.0.content": "weather?",
    "gen_ai.prompt.1.role": "tool",
    "gen_ai.prompt.1.tool_call_id": "call_1",
    "gen_ai.prompt.1.content": "31C",
    "gen_ai.completion.0.role": "assistant",
    "gen_ai.completion.0.content": '{"name": "get", "arguments": "{}"}',
    "gen_ai.completion.0.tool_call_id": "call_2",
    "gen_ai.completion.1.finish_reason": "tool_calls",
}


def test_indexed_messages_become_todays_messages() -> None:
    """``gen_ai.prompt.N`` and ``gen_ai.completion.N`` as netra-sdk writes them, in both vocabularies."""
    found = attributes(convert("both", kind="GENERATION", attributes=MESSAGES))
    assert found.items() >= MESSAGES.items()
    assert json.loads(found["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "weather?"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "31C"}]},
    ]
    call = {"type": "tool_call", "id": "call_2", "name": "get", "arguments": {}}
    assert json.loads(found["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [call], "finish_reason": "tool_call"}
    ]
    assert found["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert found["llm.input_messages.0.message.content"] == "weather?"
    assert found["llm.input_messages.1.message.tool_call_id"] == "call_1"
    tool_call = "llm.output_messages.0.message.tool_calls.0.tool_call"
    assert found[f"{tool_call}.id"] == "call_2"
    assert found[f"{tool_call}.function.name"] == "get"
    assert found[f"{tool_call}.function.arguments"] == "{}"


def test_todays_messages_become_openinference() -> None:
    """The newer form, JSON under ``gen_ai.input.messages``, is read for OpenInference and left as it is."""
    text = '[{"role":"user","parts":[{"type":"text","content":"a"},{"type":"text","content":"b"}]}]'
    found = attributes(convert("both", kind="GENERATION", attributes={"gen_ai.input.messages": text}))
    assert found["gen_ai.input.messages"] == text
    assert found["llm.input_messages.0.message.role"] == "user"
    contents = "llm.input_messages.0.message.contents"
    assert [found[f"{contents}.{number}.message_content.text"] for number in (0, 1)] == ["a", "b"]


@pytest.mark.parametrize("reason", [7, b"x", "", 1.5])
def test_a_finish_reason_that_is_no_text_is_left_where_it_is(reason: Any) -> None:
    """Finish reasons are a list of texts."""
    value = {"bytesValue": "eA=="} if isinstance(reason, bytes) else reason
    found = attributes(
        convert(
            kind="GENERATION",
            attributes=[
                {"key": "gen_ai.completion.0.role", "value": {"stringValue": "assistant"}},
                {"key": "gen_ai.completion.0.finish_reason", "value": value},
            ],
        )
    )
    assert "gen_ai.response.finish_reasons" not in found
    assert "gen_ai.completion.0.finish_reason" in found


@pytest.mark.parametrize(
    ("text", "mime"), [('{"a": 1}', "application/json"), ("[1]", "application/json"), ("{a}", "text/plain"), ("hi", "text/plain")]
)  # fmt: skip
def test_input_and_output_as_openinference_values(text: str, mime: str) -> None:
    """``input`` and ``output`` get the type of their content; empty ones are not values."""
    found = attributes(convert("openinference", attributes={"input": text, "output": ""}))
    assert (found["input.value"], found["input.mime_type"]) == (text, mime)
    assert found["input"] == text
    assert not {"output.value", "output.mime_type"} & found.keys()


def test_invocation_parameters_are_what_the_request_asked_for() -> None:
    """Invocation parameters are the ``gen_ai.request.*`` attributes except the model, as JSON."""
    recorded = {"gen_ai.request.model": "m", "gen_ai.request.temperature": 0.5, "gen_ai.request.max_tokens": 64}
    found = attributes(convert("openinference", kind="GENERATION", attributes=recorded))
    assert json.loads(found["llm.invocation_parameters"]) == {"temperature": 0.5, "max_tokens": 64}


def test_columns_with_lone_surrogates_become_escapes() -> None:
    """Every converted column can be encoded as UTF-8."""
    bad = "a\ud800"
    texts = dict.fromkeys(
        ("session_id", "tenant_id", "user_id", "model_name", "name", "environment", "created_at"), bad
    )
    for kind in ("GENERATION", "TOOL", "AGENT", "EMBEDDING"):
        span = convert("both", kind=kind, metadata={bad: [bad, 1]}, pii_actions={bad: bad}, **texts)
        for value in (*attributes(span).values(), *span.resource.attributes.values(), *attributes(span)):
            str(value).encode()


@pytest.mark.parametrize("profile", PROFILES)
def test_the_recording_of_netra_sdk_comes_out_again(profile: Any) -> None:
    """Ids, parents, names, kinds, times, events and attributes of all spans equal what netra-sdk sent."""
    converter = SpanConverter(profile)
    assert len(recorded_spans()) == len(recorded_otlp()) == 12
    for source in recorded_spans():
        span, sent = converter.convert(source), recorded_otlp()[source.id]
        assert f"{span.context.trace_id:032x}" == sent["traceId"]
        assert f"{span.context.span_id:016x}" == sent["spanId"]
        assert (f"{span.parent.span_id:016x}" if span.parent else None) == sent.get("parentSpanId")
        assert span.name == sent["name"]
        assert span.kind.value + 1 == sent["kind"]
        assert [str(span.start_time), str(span.end_time)] == [sent["startTimeUnixNano"], sent["endTimeUnixNano"]]
        assert span.status.status_code.value == sent["status"].get("code", 0)
        assert (span.status.description or "") == sent["status"].get("message", "")
        assert [(event.name, str(event.timestamp)) for event in span.events] == [
            (event["name"], event["timeUnixNano"]) for event in sent.get("events", [])
        ]
        for event, sent_event in zip(span.events, sent.get("events", []), strict=True):
            assert dict(event.attributes or {}) == _plain(sent_event.get("attributes", []))
        found, recorded = attributes(span), _plain(sent["attributes"])
        assert found.items() >= recorded.items()
        if profile == "raw":
            assert found == recorded
            assert dict(span.resource.attributes) == _plain(sent["resource"])
    assert not converter.counts["parent_missing"]


def _plain(sent: list[dict[str, Any]]) -> dict[str, Any]:
    """Return attributes of the recording, which has only scalars."""
    result = {}
    for item in sent:
        ((kind, value),) = item["value"].items()
        result[item["key"]] = int(value) if kind == "intValue" else value
    return result


def test_the_same_span_is_the_same_twice() -> None:
    """Conversion is a function of its input: another converter gives equal spans."""
    one, two = (
        [span.to_json() for span in SpanConverter("both").convert_trace(None, recorded_spans())] for _ in range(2)
    )
    assert one == two


def test_conversion_leaves_its_input_alone() -> None:
    """Decoded columns belong to the caller, and are not changed."""
    column = {"user.id": "ada", "input": "secret", "n": {"a": [1]}}
    before = json.dumps(column)
    SpanConverter("both").convert(netra_span(attributes=column, metadata=column))
    assert json.dumps(column) == before


FULL = {
    **{f"gen_ai.prompt.{number}.{part}": "x" for number in (0, 1) for part in ("role", "content", "tool_call_id")},
    **{f"gen_ai.completion.0.{part}": "x" for part in ("role", "content", "finish_reason")},
    **{f"gen_ai.completion.0.tool_calls.0.{part}": "x" for part in ("id", "name", "arguments")},
    "gen_ai.system": "openai",
    "gen_ai.request.temperature": 0.5,
    "gen_ai.usage.cached_tokens": 1,
    "llm.request.type": "chat",
    "input": "x",
    "output": "x",
}


def test_no_name_that_is_added_is_the_beginning_of_another() -> None:
    """Stores that keep nested objects accept what the bridge adds: no added name is a parent of another one."""
    kinds = ("GENERATION", "EMBEDDING", "TOOL", "AGENT", "USAGE", "SPAN", None)
    spans = [netra_span(**{**EVERY_COLUMN, "kind": kind, "attributes": FULL}) for kind in kinds] + [*recorded_spans()]
    added: set[str] = set()
    of_resources: set[str] = set()
    for span in spans:
        raw, both = (SpanConverter(profile, usage_cost=True).convert(span) for profile in ("raw", "both"))
        added |= attributes(both).keys() - attributes(raw).keys()
        of_resources |= both.resource.attributes.keys() - raw.resource.attributes.keys()
    assert len(added) > 50
    for names in (added, of_resources):
        assert [(one, other) for one in names for other in names if other.startswith(f"{one}.")] == []


def test_deeply_nested_attributes_of_events_are_kept() -> None:
    """A value that is nested as deeply as the JSON reader allows is kept in an event, as it is in a span."""
    nested = "[" * 600 + "1" + "]" * 600
    event = f'{{"name": "e", "timestamp": 1, "attributes": {{"deep": {nested}}}}}'
    (kept,) = convert(events=f"[{event}]").events
    assert dict(kept.attributes or {}) == {"deep": nested}
