"""Dropped content leaves nowhere: not under another name, in an event, link, resource or note."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.convert import Privacy, SpanConverter
from netra_otel_bridge.convert.allowed import rule_of
from netra_otel_bridge.convert.redaction import REDACTED
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.model.netra import TraceSummary
from tests.support.converted import (
    SPAN_ID,
    START_NS,
    TRACE_ID,
    attributes,
    convert,
    netra_span,
    recorded_spans,
)

PROFILES = ("raw", "genai", "openinference", "both")
CONTENT = [
    "input",
    "output",
    "netra.prompt",
    "netra.action",
    "gen_ai.prompt.0.content",
    "gen_ai.prompt.0.content.0.text",
    "gen_ai.prompt.1.tool_calls.0.arguments",
    "gen_ai.completion.0.content",
    "gen_ai.completion.0.reasoning",
    "gen_ai.completion.0.parts",
    "gen_ai.prompt",
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.retrieval.documents",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "input.value",
    "output.value",
    "llm.prompts",
    "llm.completions.0.completion.text",
    "llm.input_messages.0.message.content",
    "llm.input_messages.0.message.contents.0.message_content.text",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments",
    "llm.prompt_template.variables",
    "retrieval.documents.0.document.content",
    "embedding.embeddings.0.embedding.text",
    "ai.prompt.messages",
    "ai.response.text",
]
BESIDES = {
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.prompt.0.role": "user",
    "gen_ai.completion.0.finish_reason": "tool_calls",
    "gen_ai.usage.prompt_tokens": "12",
    "llm.input_messages.0.message.role": "system",
    "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "get_weather",
    "netra.session_id": "sess-7",
    "input.mime_type": "application/json",
    "http.route": "/users/{id}",
}
NESTED = {
    "gen_ai": {"prompt": {"0": {"content": "canary"}}},
    "llm": {"prompts": "canary"},
    "netra": {"prompt": "canary"},
}


def everything(span: ReadableSpan) -> str:
    """Return everything that leaves with a span, as one text."""
    return str(encode_spans([span]))


def laden(canary: str) -> dict[str, Any]:
    """Return columns with a text in every place where content can be."""
    content = dict.fromkeys(CONTENT, f"say {canary}") | BESIDES
    return {
        "kind": "GENERATION",
        "attributes": content,
        "events": [{"name": "gen_ai.user.message", "attributes": content}],
        "links": [{"trace_id": "1" * 32, "span_id": "2" * 16, "attributes": content}],
        "resources": {"input": canary, "service.name": "s"},
        "metadata": {"input": canary, "plan": "gold"},
    }


@pytest.mark.parametrize("key", CONTENT)
def test_keys_of_content(key: str) -> None:
    """Neither text nor a number leaves under the names of prompts, completions, inputs, outputs and arguments."""
    assert (rule_of(key).text, rule_of(key).numbers) == (None, False)


@pytest.mark.parametrize(("key", "value"), BESIDES.items())
def test_keys_that_are_no_content(key: str, value: str) -> None:
    """Models, roles, reasons, counts and names are not content."""
    shape = rule_of(key).text
    assert shape is not None
    assert shape(value) == value


@pytest.mark.parametrize(
    "wrong",
    [
        {"content": "Drop"},
        {"content": "redact"},
        {"content": "redact", "redact": ("secret",)},
        {"content": "redact", "redact": "secret"},
        {"content": "redact", "redact": (re.compile(b"secret"),)},
        {"pii": "drop"},
        {"user": True},
        {"exceptions": "hide"},
        {"content_allow": "netra.custom.*"},
        {"content_allow": ("*",)},
        {"content_allow": ("netra.*.plan",)},
        {"user_hash_key": ""},
        {"user_hash_key": b"key"},
    ],
)
def test_a_policy_that_would_keep_what_was_not_meant_is_refused(wrong: dict[str, Any]) -> None:
    """An unknown word, or redaction without an expression, fails before any conversion."""
    with pytest.raises(UsageError, match=next(reversed(wrong))):
        Privacy(**wrong)


def test_a_converter_has_a_profile_and_a_policy() -> None:
    """An unknown profile is an error that names the four profiles."""
    with pytest.raises(UsageError, match="profile must be one of raw, genai, openinference, both, not 'nope'"):
        SpanConverter("nope")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"give a Privacy\(...\)"):
        SpanConverter("raw", {"content": "drop"})  # type: ignore[arg-type]


@pytest.mark.parametrize("profile", PROFILES)
def test_content_is_kept_by_default(profile: Any) -> None:
    """The default changes nothing."""
    found = attributes(convert(profile, **laden("canary")))
    assert all(found[key] == "say canary" for key in CONTENT)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("policy", [Privacy(content="drop"), Privacy(pii="drop-content")])
def test_dropped_content_is_nowhere(profile: Any, policy: Privacy) -> None:
    """The text is in no attribute, event, link, metadata or derived attribute; everything else stays."""
    converter = SpanConverter(profile, policy)
    columns = laden("canary") | ({"resources": None} if policy.pii == "drop-content" else {})
    span = converter.convert(netra_span(has_pii=True, **columns))
    assert "canary" not in everything(span)
    assert attributes(span).items() >= BESIDES.items()
    assert dict(span.events[0].attributes or {}).items() == BESIDES.items()
    assert converter.counts["content_dropped"] >= 3 * len(CONTENT)


@pytest.mark.parametrize("has_pii", [False, None])
def test_pii_drops_the_content_of_its_spans_alone(has_pii: bool | None) -> None:
    """If Netra found no PII, ``drop-content`` drops nothing."""
    found = attributes(convert(privacy=Privacy(pii="drop-content"), has_pii=has_pii, **laden("canary")))
    assert found["input"] == "say canary"


@pytest.mark.parametrize("profile", PROFILES)
def test_dropped_content_is_not_among_the_originals(profile: Any) -> None:
    """An unreadable column kept as text may contain a prompt, so it is dropped too."""
    broken = '{"input": "canary'
    columns = {"attributes": broken, "events": broken, "links": broken, "metadata": broken, "resources": broken}
    span = convert(profile, privacy=Privacy(content="drop"), **columns)
    assert "canary" not in everything(span)
    assert "attributes_unreadable" in attributes(span)["netra.bridge.notes"]
    assert everything(convert(profile, **columns)).count("canary") == (4 if profile == "raw" else 5)


@pytest.mark.parametrize("profile", PROFILES)
def test_nested_objects_do_not_carry_content_past_the_policy(profile: Any) -> None:
    """A nested object becomes one attribute of JSON text, which is dropped by its outer name."""
    assert "canary" not in everything(convert(profile, privacy=Privacy(content="drop"), attributes=NESTED))


@pytest.mark.parametrize("profile", PROFILES)
def test_redacted_content_is_nowhere(profile: Any) -> None:
    """Matches are replaced in content of every type; the text around them stays."""
    converter = SpanConverter(
        profile, Privacy(content="redact", redact=(re.compile(r"4111\d{12}"), re.compile("canary")))
    )
    columns = laden("canary")
    columns["attributes"] |= {
        "message": ["canary", "x"],
        "content": 4111111111111111,
        "prompt": 7,
        "http.url": "canary/",
    }
    span = converter.convert(netra_span(**columns))
    found = attributes(span)
    assert found["input"] == f"say {REDACTED}"
    assert found["message"] == (REDACTED, "x")
    assert found["content"] == REDACTED
    assert found["prompt"] == 7
    assert found["http.url"] == f"{REDACTED}/"
    assert "canary" not in everything(span)
    assert converter.counts["content_redacted"] > 3 * len(CONTENT)


def test_bytes_and_lists_of_pairs_are_redacted_too() -> None:
    """The policy applies to every OTLP type; bytes that are not UTF-8 stay complete."""
    values = [
        {"key": "input", "value": {"bytesValue": "Y2FuYXJ5/w=="}},
        {"key": "output", "value": {"kvlistValue": {"values": [{"key": "a", "value": {"stringValue": "canary"}}]}}},
    ]
    found = attributes(convert(privacy=Privacy(content="redact", redact=(re.compile("canary"),)), attributes=values))
    assert found["input"] == REDACTED.encode() + b"\xff"
    assert found["output"] == {"a": REDACTED}


def users(user: str) -> dict[str, Any]:
    """Return columns with a user id in every place where one can be."""
    recorded = {
        "netra.user_id": user,
        "user.id": user,
        "enduser.id": user,
        "netra.custom.user_id": user,
        "llm.user": user,
        "gen_ai.user": user,
        "mlflow.trace.user": user,
        "langfuse.user.id": user,
        "langfuse.trace.user_id": user,
        "app.endUserId": user,
        "enduser.pseudo.id": user,
        "http.request.header.X-User-ID": user,
        "metadata": json.dumps({"plan": "gold", "user_id": user, "deep": [{"user": {"id": user, "email": user}}]}),
        "langfuse.trace.metadata": {"userId": user},
        "netra.association.properties": str({"user.id": user}),
        "llm.metadata.request": json.dumps({"inner": json.dumps({"user": user})}),
    }
    return {
        "kind": "GENERATION",
        "user_id": user,
        "attributes": recorded,
        "events": [{"name": "e", "attributes": recorded}],
        "links": [{"trace_id": "1" * 32, "span_id": "2" * 16, "attributes": recorded}],
        "resources": {"enduser.id": user, "service.name": "s"},
        "metadata": {
            "user_id": user,
            "plan": "gold",
            "request": {"by": {"user": user}},
            "raw": f'{{"user": "{user}"}}',
        },
    }


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("policy", ["hash", "drop"])
def test_a_user_who_is_hashed_or_dropped_is_nowhere(profile: Any, policy: Any) -> None:
    """The id is in no attribute, event, link, resource or metadata, recorded or added."""
    converter = SpanConverter(profile, Privacy(user=policy))
    assert "ada@example.com" not in everything(converter.convert(netra_span(**users("ada@example.com"))))
    assert converter.counts["user_changed"] >= 15


def test_a_hash_is_the_same_for_the_same_user() -> None:
    """User ids become 32 hex digits of SHA-256, so traces of one user can still be correlated."""
    expected = hashlib.sha256(b"ada").hexdigest()[:32]
    found = attributes(convert(privacy=Privacy(user="hash"), user_id="ada", attributes={"netra.user_id": "ada"}))
    assert found["user.id"] == found["netra.user_id"] == expected


def test_a_dropped_user_leaves_no_key() -> None:
    """No user id is left, not even an empty one; the rest of the span stays."""
    found = attributes(convert(privacy=Privacy(user="drop"), **users("ada")))
    assert not [key for key in found if "user" in key]
    assert found["netra.metadata.plan"] == "gold"
    kept = attributes(convert(**users("ada")))
    assert kept["user.id"] == kept["netra.user_id"] == "ada"


def test_metadata_keeps_what_is_no_user() -> None:
    """In JSON, user ids alone are replaced, by the hash that they have elsewhere; JSON without one stays as it was."""
    hashed = Privacy(user="hash").user_id("ada")
    given = {
        "metadata": '{"plan": null, "user": {"id": "ada", "email": "a@b"}, "is_user": true, "per_user": 5}',
        "x.metadata": '{"user_count": 5, "role": "user", "user": true}',
        "y.metadata": '{"user_id": "ada", "cut',
        "z.metadata": '{"plan": "cut',
        "gen_ai.prompt.user": "ada",
        "user": 42,
        "text": '{"user_id": "ada"}',
    }
    found = attributes(convert("raw", privacy=Privacy(user="hash"), attributes=given))
    assert json.loads(found["metadata"]) == {"plan": None, "user": hashed, "is_user": True, "per_user": 5}
    assert found["user"] == Privacy(user="hash").user_id("42")
    assert "y.metadata" not in found
    unchanged = ("x.metadata", "z.metadata", "gen_ai.prompt.user", "text")
    assert {key: found[key] for key in unchanged} == {key: given[key] for key in unchanged}


@pytest.mark.parametrize("policy", ["hash", "drop"])
def test_a_user_is_not_among_the_originals(policy: Any) -> None:
    """A broken text may have a user id anywhere, so the text is dropped."""
    broken = '{"netra.user_id": "ada@example.com'
    columns = {"attributes": broken, "events": broken, "links": broken, "metadata": broken, "resources": broken}
    span = convert("both", privacy=Privacy(user=policy), **columns)
    assert "ada@example.com" not in everything(span)
    assert "attributes_unreadable" in attributes(span)["netra.bridge.notes"]


@pytest.mark.parametrize(
    ("entities", "expected"),
    [
        (["EMAIL", "EMAIL", "PHONE_NUMBER"], ("EMAIL", "PHONE_NUMBER")),
        (["email", "Person"], ("email", "Person")),
        ('["EMAIL"]', ("EMAIL",)),
        ([{"entity_type": "EMAIL", "text": "canary"}], ("EMAIL",)),
        ([{"type": "EMAIL", "value": "canary"}], ("EMAIL",)),
        ([{"text": "canary"}], None),
        (["canary@example.com", "Canary", "canary", 4111111111111111], ("_OTHER",)),
        ("EMAIL", None),
        ([], None),
        (None, None),
    ],
)
def test_types_of_pii_leave_and_its_text_never(entities: Any, expected: tuple[str, ...] | None) -> None:
    """Only words that name a type are kept; anything that may be PII becomes ``_OTHER``."""
    for profile in ("genai", "both"):
        span = convert(profile, has_pii=True, pii_entities=entities)
        assert attributes(span).get("netra.pii.entities") == expected
        assert not re.search("canary|4111", everything(span), re.IGNORECASE)


def test_actions_on_pii_hold_no_text_either() -> None:
    """Keys, values and numbers at any depth are replaced."""
    actions = {"EMAIL": [{"action": "MASK", "text": "canary", "number": 4111111111111111}], "Canary": True}
    span = convert(has_pii=True, pii_actions=actions)
    assert not re.search("canary|4111", everything(span), re.IGNORECASE)
    assert json.loads(attributes(span)["netra.pii.actions"])["EMAIL"][0]["action"] == "MASK"


def test_violations_are_named() -> None:
    """Violation types are any words, with dashes or underscores."""
    found = attributes(
        convert(has_violation=True, violations=["toxicity", {"name": "prompt-injection"}, "no such text"])
    )
    assert found["netra.violation.types"] == ("toxicity", "prompt-injection", "_OTHER")


@pytest.mark.parametrize("profile", PROFILES)
def test_no_content_of_the_recording_survives_a_drop(profile: Any) -> None:
    """A drop leaves no prompt, answer, argument, result or user id of a recording of netra-sdk 1.2.2."""
    converter = SpanConverter(profile, Privacy(content="drop", user="drop"))
    left = str(encode_spans(converter.convert_trace(None, recorded_spans())))
    for told in ("You are terse", "Lagos", "sky", "31C", "a cat", "user-42"):
        assert told not in left
    assert "gpt-4o-2024-08-06" in left
    assert "tool_calls" in left


@pytest.mark.parametrize("profile", PROFILES)
def test_what_is_allowed_by_name_stays(profile: Any) -> None:
    """``content_allow`` keeps exact names and all names below a prefix, whatever they hold, and nothing beside them."""
    policy = Privacy(content="drop", content_allow=("netra.custom.plan", "shop.*", "netra.metadata.tier", "input"))
    recorded = {
        "netra.custom.plan": "gold plan",
        "netra.custom.planned": "canary",
        "shop.basket": ["two", "words each"],
        "shop": "canary",
        "shopping.basket": "canary",
        "input": 42,
    }
    columns = {"attributes": recorded, "metadata": {"tier": "all you can eat", "note": "canary"}}
    span = convert(profile, privacy=policy, **columns)
    kept = attributes(span)
    assert kept["netra.custom.plan"] == "gold plan"
    assert kept["shop.basket"] == ("two", "words each")
    assert kept["input"] == 42
    assert kept.get("netra.metadata.tier") == (None if profile == "raw" else "all you can eat")
    assert "canary" not in everything(span)


FAILED: dict[str, Any] = {
    "kind": "GENERATION",
    "status": {"code": 2, "message": "canary 1"},
    "attributes": {"netra.error_message": "canary 2", "error": True, "gen_ai.request.model": "m"},
    "events": [
        {
            "name": "exception",
            "time_unix_nano": 1,
            "attributes": {"exception.type": "E", "exception.message": "canary 3", "exception.stacktrace": "canary 4"},
        }
    ],
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ({"content": "keep"}, 4),
        ({"content": "keep", "exceptions": "drop"}, 0),
        ({"content": "drop"}, 0),
        ({"content": "drop", "exceptions": "keep"}, 4),
        ({"pii": "drop-content"}, 0),
        ({"content": "redact", "redact": (re.compile("x"),)}, 4),
        ({"content": "redact", "redact": (re.compile("x"),), "exceptions": "drop"}, 0),
        ({"content": "redact", "redact": (re.compile("canary"),)}, 0),
    ],
)
def test_words_of_exceptions_have_a_switch(profile: Any, policy: dict[str, Any], kept: int) -> None:
    """Messages, stack traces and the message of a status go with the content unless ``exceptions`` says otherwise."""
    span = convert(profile, privacy=Privacy(**policy), has_pii=True, **FAILED)
    assert everything(span).count("canary") == kept
    assert span.status.status_code.name == "ERROR"
    assert (span.events[0].attributes or {})["exception.type"] == "E"
    assert attributes(span)["error"] is True


def test_exceptions_in_unreadable_columns_are_dropped_too() -> None:
    """Text of a column that could not be read, or of an odd status, may hold an exception."""
    columns = {"attributes": '{"a": canary', "events": "[canary", "status": {"code": "odd", "message": "canary"}}
    assert "canary" not in everything(convert("raw", privacy=Privacy(exceptions="drop"), **columns))
    assert everything(convert("raw", **columns)).count("canary") == 3


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"kind": "GENERATION"}, "chat"),
        ({"kind": "TOOL"}, "execute_tool"),
        ({"kind": "AGENT", "attributes": {"gen_ai.operation.name": "create_agent"}}, "create_agent"),
        ({"attributes": {"netra.span.type": "EMBEDDING"}}, "embeddings"),
        ({"kind": "AGENT", "attributes": {"gen_ai.operation.name": "canary of mine"}}, "invoke_agent"),
        ({"kind": "SPAN"}, "span"),
        ({"kind": "SPAN_KIND_SERVER"}, "server"),
        ({}, "internal"),
    ],
)
def test_a_name_that_is_content_becomes_the_operation(columns: dict[str, Any], expected: str) -> None:
    """A span whose name is a task's text is named after its operation, else its kind, and gives no name to a tool."""
    for profile in PROFILES:
        converter = SpanConverter(profile, Privacy(content="drop"))
        span = converter.convert(netra_span(**{**columns, "name": "Research the canary market"}))
        assert span.name == expected
        assert converter.dropped["(span name)"] == 1
        assert not {"gen_ai.tool.name", "tool.name", "gen_ai.agent.name", "agent.name"} & attributes(span).keys()


def test_names_of_spans_stay() -> None:
    """A span that is named by the conventions keeps its name."""
    assert convert(privacy=Privacy(content="drop"), name="chat gpt-4o").name == "chat gpt-4o"


@pytest.mark.parametrize("profile", PROFILES)
def test_redaction_reaches_every_text(profile: Any) -> None:
    """Expressions apply under every key and to keys, names, statuses, columns, resources and scopes; numbers of facts stay."""
    recorded = {
        "any.key": "canary", "canary": 1, "netra.instrumentation.name": "canary", "library.version": "canary",
        "gen_ai.request.model": "canary", "gen_ai.usage.input_tokens": 4111, "x.card": 4111, "deep": {"canary": ["canary"]},
    }  # fmt: skip
    text = ("session_id", "user_id", "tenant_id", "organisation_id", "project_id", "environment", "model_name", "name")
    columns: dict[str, Any] = dict.fromkeys(text, "canary 4111") | {"created_at": "canary", "violations": ["canary"]}
    columns |= {
        "status": {"code": 2, "message": "canary"},
        "attributes": recorded,
        "events": [{"name": "canary", "time_unix_nano": 1, "attributes": recorded}],
        "links": [{"trace_id": "1" * 32, "span_id": "2" * 16, "attributes": recorded}],
        "resources": {"x": "canary", "canary": "canary"},
        "metadata": {"canary": "canary"},
    }
    policy = Privacy(content="redact", redact=(re.compile("canary|4111"),))
    span = SpanConverter(profile, policy).convert(netra_span(**columns), TraceSummary(id=TRACE_ID, service="canary"))
    assert "canary" not in everything(span)
    found = attributes(span)
    assert found["gen_ai.usage.input_tokens"] == 4111
    assert found["x.card"] == REDACTED
    assert span.name == f"{REDACTED} {REDACTED}"


def test_ids_and_times_are_not_redacted() -> None:
    """Ids of traces and spans, and times, stay as they are: they are no text."""
    policy = Privacy(content="redact", redact=(re.compile("[0-9a-f]+"),))
    span = convert(privacy=policy, created_at="2026-01-01T00:00:00Z")
    assert span.context is not None
    assert (span.context.trace_id, span.context.span_id, span.start_time) == (
        int(TRACE_ID, 16),
        int(SPAN_ID, 16),
        START_NS,
    )
    assert attributes(span)["netra.created_at"] == "2026-01-01T00:00:00Z"


def test_a_hash_with_a_key_is_an_hmac() -> None:
    """With a key, a user id becomes 32 hex digits of HMAC-SHA-256, which a list of ids cannot reveal without the key."""
    policy = Privacy(user="hash", user_hash_key="s3cret")
    expected = hmac.new(b"s3cret", b"ada", hashlib.sha256).hexdigest()[:32]
    found = attributes(convert(privacy=policy, user_id="ada", attributes={"netra.user_id": "ada", "enduser.id": "ada"}))
    assert {found["user.id"], found["netra.user_id"], found["enduser.id"]} == {expected}
    assert expected != hashlib.sha256(b"ada").hexdigest()[:32]
    assert "s3cret" not in repr(policy) + str(policy)
    assert policy != Privacy(user="hash")


@pytest.mark.parametrize("profile", PROFILES)
def test_a_user_id_of_any_shape_is_hashed_and_kept(profile: Any) -> None:
    """An id that looks like prose is hashed before the policy for content sees it."""
    span = convert(
        profile,
        privacy=Privacy(content="drop", user="hash"),
        user_id="Ada Lovelace",
        attributes={"user.id": "Ada Lovelace"},
    )
    assert attributes(span)["user.id"] == hashlib.sha256(b"Ada Lovelace").hexdigest()[:32]


def test_what_is_stored_follows_the_policy() -> None:
    """The state keeps no JSON that could not be read, and of a trace that is held back no text that is content."""
    trace = TraceSummary(
        id=TRACE_ID,
        name="the canary market",
        session_id="my canary",
        user_id="lovelace",
        models=["canary"],
        service="shop",
    )
    drop = SpanConverter("raw", Privacy(content="drop", user="hash"))
    stored = drop.private_summary(trace)
    assert "canary" not in repr(stored)
    assert "lovelace" not in repr(stored)
    assert (stored.id, stored.service) == (TRACE_ID, "shop")
    assert drop.private_document('{"a": "canary"}') == ""
    redact = SpanConverter("raw", Privacy(content="redact", redact=(re.compile("canary"),)))
    assert redact.private_document('{"a": "canary"}') == f'{{"a": "{REDACTED}"}}'
    keep = SpanConverter("raw")
    assert (keep.private_summary(trace), keep.private_document("{canary")) == (trace, "{canary")


def test_the_words_of_a_failed_conversion_are_not_told() -> None:
    """Why a span could not be converted is logged and stored: under a policy, only the type of the error is."""
    error = ValueError("invalid: 'canary'")
    assert SpanConverter("raw").failure(error) == "ValueError: invalid: 'canary'"
    for policy in (Privacy(content="drop"), Privacy(pii="drop-content"), Privacy(user="hash")):
        assert SpanConverter("raw", policy).failure(error) == "ValueError"


def test_keys_that_become_the_same_are_all_kept() -> None:
    """Keys that differ only in what is redacted keep their values, and a recorded key is not replaced."""
    policy = Privacy(content="redact", redact=(re.compile("canary[0-9]"),))
    recorded = {"canary1": "a", "canary2": "b", REDACTED: "c"}
    found = attributes(convert("raw", privacy=policy, attributes=recorded))
    assert sorted(found.values()) == ["a", "b", "c"]
    assert found[REDACTED] == "c"
