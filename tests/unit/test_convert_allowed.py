"""A fact is known by its name and by its shape; what has another shape is content under any name."""

from __future__ import annotations

from typing import Any

import pytest

from netra_otel_bridge.convert import shapes
from netra_otel_bridge.convert.allowed import FACTS, MEASURED, NOT_A_NAME, counted_name, is_name, rule_of


@pytest.mark.parametrize(
    "text",
    [
        "gpt-4o-2024-08-06", "claude@20240620", "accounts/fireworks/models/llama-v3p1-405b", "ValueError", "db.Orders$Row",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-5-sonnet-20241022-v2:0",
        "0af76519-16cd-43dd-8448-eb211c80319c", "ada@example.com", "<module>", "1.2.3+build", "/srv/app/main.py", "",
    ],
)  # fmt: skip
def test_tokens(text: str) -> None:
    """Models, ids, versions, types, hosts and paths are tokens."""
    assert shapes.token(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Tell me about my illness", "two words", "a\tb", "a\nb", "a\u00a0b", "我头痛怎么办", "Ünterleib", "why%20me", "why?",
        "why+does+it+hurt", "why,does,it,hurt", '{"a":1}', "x" * 129, "a;b", "don't", "why&me=1&you",
        "why-does-my-head-hurt-so-much-after-i-drank-all-of-that-cheap-red-wine",
    ],
)  # fmt: skip
def test_no_tokens(text: str) -> None:
    """Prose is no token: with spaces of any kind, escaped, punctuated, in other scripts, as JSON, or too long."""
    assert shapes.token(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Trip Planner", True),
        ("Senior Data Researcher", True),
        ("AI Planner", True),
        ("researcher", True),
        ("Tell me", False),
        ("HELP ME", False),
        ("Why Does It Hurt", False),
        ("my illness", False),
        ("Trip Planner.", False),
    ],
)
def test_names_that_somebody_gave(text: str, expected: bool) -> None:
    """A name is a token, or two or three words with capitals."""
    assert (shapes.name(text) == text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chat gpt-4o", True), ("ai.generateText.doGenerate chat-fn", True), ("invoke_agent Trip Planner", True),
        ("GET /users/{id}", True), ("SELECT shop.orders", True), ("orders publish", True), ("agent run", True),
        ("tools/call get-weather", True), ("ChatOpenAI.chat", True), ("pkg.Service/Method", True), ("", True),
        ("Research the market for electric cars", False), ("GET /search?q=illness", False), ("chat about my illness", False),
        ("SELECT note FROM t", False), ("my illness", False), ("invoke_agent Tell me", False), ("chat ", False),
    ],
)  # fmt: skip
def test_names_of_spans(text: str, expected: bool) -> None:
    """A span's name is a token, or an operation and what it acts on."""
    assert (shapes.span_name(text) == text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://a.example:8443/v1/x", "https://a.example:8443/v1/x"),
        ("https://a.example/v1?q=illness", "https://a.example/v1"),
        ("/v1/x#why", "/v1/x"),
        ("https://ada:secret@a.example/", None),
        ("https://a.example/my%20illness", None),
        ("why does it hurt", None),
        ("javascript:alert(1)", None),
    ],
)
def test_urls(text: str, expected: str | None) -> None:
    """A URL leaves without its query and fragment, and not at all with credentials or escaped characters."""
    assert shapes.url(text) == expected


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        (shapes.role, "Assistant", "Ada"),
        (shapes.word, "tool_calls", "tool calls"),
        (shapes.number, "-4.7e-07", "4711 Main"),
        (shapes.number, "", "1e"),
        (shapes.counts, '{"input": 10, "output": 3, "total": 13}', '{"input": "ten"}'),
        (shapes.counts, '{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":5}}', '{"Anna": 5}'),
        (shapes.counts, '{"input_cost": 1e-05, "total_cost": null}', '{"input": 1} and more'),
        (shapes.quoted_token, '"gpt-4o"', '"Tell me"'),
        (shapes.quoted_token, '"CHAT_MODEL"', "gpt-4o"),
        (shapes.instant, "2026-11-30T05:14:35.658523+00:00", "tomorrow"),
        (shapes.instant, "1763251200000.123456", "1763251200000 x"),
        (shapes.media_type, "application/json", "json, please"),
        (shapes.route, "/users/{id}", "/search?q=x"),
    ],
)
def test_other_shapes(shape: shapes.Shape, good: str, bad: str) -> None:
    """Roles, words, numbers, times, media types and routes each have one shape."""
    assert shape(good) == good
    assert shape(bad) is None


@pytest.mark.parametrize(
    "key", ["a b", "имя", "", "x" * 151, "ada@example.com", "why?", '{"a"', ".a", "-".join("abcdefghijklmnopqrstuvw")]
)
def test_keys_that_may_be_content(key: str) -> None:
    """A key that is not shaped like a name has no text, no number, and a common word in counts."""
    assert not is_name(key)
    assert rule_of(key) == (NOT_A_NAME, None, False, False)
    assert counted_name(key) == NOT_A_NAME


@pytest.mark.parametrize(
    ("key", "stays"),
    [
        ("x.n", True), ("retries", True), ("prompt_tokens", True), ("x.input_count", True), ("is_blocked", True),
        ("gen_ai.claude_code.num_turns", True), ("llm.token_count.prompt", True), ("gen_ai.usage.input", True),
        ("input", False), ("x.input.age", False), ("args.limit", False), ("x.promptValue", False), ("netra.custom.n", False),
        ("x.arguments.count", False), ("response", False), ("embedding_vector", False),
    ],
)  # fmt: skip
def test_numbers_stay_unless_they_are_parts_of_content(key: str, stays: bool) -> None:
    """A number stays under an unknown name, unless the name says that it belongs to content or to the user's own data."""
    assert rule_of(key).numbers is stays


def test_every_fact_is_a_name() -> None:
    """The table holds names that can be recorded, each with a shape, and no beginning that hides one of them."""
    assert all(is_name(name) and callable(shape) for name, shape in FACTS.items())
    assert not [
        name for name in FACTS if name.startswith(MEASURED) and FACTS[name] not in (shapes.number, shapes.instant)
    ]
    assert len(FACTS) > 300


CONTENT_OF_THE_CONVENTIONS: tuple[Any, ...] = (
    "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result", "gen_ai.tool.definitions", "gen_ai.tool.description", "gen_ai.retrieval.query.text",
    "gen_ai.retrieval.documents", "gen_ai.request.stop_sequences", "gen_ai.agent.description", "gen_ai.evaluation.explanation",
    "db.statement", "db.query.text", "db.query.parameter.a", "db.query.summary", "db.operation.parameter.a", "url.query",
    "url.fragment", "http.target", "http.request.header.cookie", "http.response.header.x", "http.user_agent",
    "user_agent.original", "process.command", "process.command_args", "process.command_line", "exception.message",
    "exception.stacktrace", "error.message", "messaging.kafka.message.key", "user.email", "user.full_name", "user.name",
    "graphql.document", "rpc.grpc.request.metadata.a", "netra.custom.plan", "netra.metadata.plan", "conversation",
    "gen_ai.task.input", "lk.input_text", "pydantic_ai.final_output", "langfuse.observation.input", "mlflow.spanInputs",
    "traceloop.prompt.key", "mcp.response.value", "crewai.task.description", "masked_text",
)  # fmt: skip


@pytest.mark.parametrize("key", CONTENT_OF_THE_CONVENTIONS)
def test_names_that_hold_content(key: str) -> None:
    """No text leaves under the names that the conventions and the frameworks give to content and to people."""
    assert rule_of(key).text is None
