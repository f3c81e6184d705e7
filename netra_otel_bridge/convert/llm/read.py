"""Read one span's attributes and events as a `Call`, from whatever dialects wrote them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

from opentelemetry.sdk.trace import Event

from netra_otel_bridge.convert.attributes import as_count
from netra_otel_bridge.convert.llm import retrieval, tool_run
from netra_otel_bridge.convert.llm.call import Call, Kind, Message
from netra_otel_bridge.convert.llm.dialects import DIALECTS
from netra_otel_bridge.convert.llm.dialects.events import EVENTS
from netra_otel_bridge.convert.llm.dialects.tools import definitions
from netra_otel_bridge.convert.llm.facts import as_number
from netra_otel_bridge.convert.llm.keys import KEYS
from netra_otel_bridge.convert.llm.kinds import asks_plain_database, kind_of, name_tells
from netra_otel_bridge.convert.llm.messages import with_single_results
from netra_otel_bridge.convert.llm.providers import provider
from netra_otel_bridge.convert.llm.recorded import Recorded
from netra_otel_bridge.convert.semconv import REQUEST_MODEL
from netra_otel_bridge.core.json_text import clean_text
from netra_otel_bridge.core.model.netra import TraceSpan

_EVENTS = 1 << DIALECTS.index(EVENTS)
_EVENT_PREFIXES = ("gen_ai.", "db.")
_OTHER = Kind.OTHER
_parts_of = attrgetter("parts")
_WITHOUT_MESSAGES = frozenset({Kind.EMBEDDING, Kind.RERANKER, Kind.RETRIEVER, Kind.TOOL})


def read_call(
    attributes: Mapping[str, Any],
    span: TraceSpan,
    column: str | None,
    events: Sequence[Event] = (),
    name: str = "",
) -> Call:
    """Return what a span records. ``column`` is Netra's type of it, and ``name`` its name after the privacy policy.

    ``attributes`` and ``events`` are those that the policy left: nothing else is read of content.
    """
    told = [event for event in events if event.name.startswith(_EVENT_PREFIXES)] if events else []
    recorded = KEYS.sort(attributes, told, name)
    facts = recorded.facts
    _add_columns(facts, span, attributes)
    call = Call(facts)
    if not told and _is_plain(column, recorded, span):
        return call
    for read in _readers(recorded.readers | _EVENTS if told else recorded.readers):
        read(recorded, call)
    _name_kind(call, column, recorded)
    _finish(call, recorded)
    return call


def _is_plain(column: str | None, recorded: Recorded, span: TraceSpan) -> bool:
    """Return whether nothing says that a span is more than a step of the application."""
    if (column is not None and column != "SPAN") or recorded.groups or span.model_name:
        return False
    facts = recorded.facts
    if not recorded.telling.isdisjoint(facts) and not asks_plain_database(recorded):
        return False
    return not name_tells(recorded.name) and not name_tells(facts.get("entity_name", ""))


@cache
def _readers(bits: int) -> tuple[Callable[[Recorded, Call], None], ...]:
    return tuple(one.read for number, one in enumerate(DIALECTS) if one.read is not None and bits & 1 << number)


def _add_columns(facts: dict[str, Any], span: TraceSpan, attributes: Mapping[str, Any]) -> None:
    if (count := span.prompt_tokens) is not None and (count := as_count(count)) is not None:
        facts["input_tokens"] = count
    if (count := span.completion_tokens) is not None and (count := as_count(count)) is not None:
        facts["output_tokens"] = count
    if (count := span.total_tokens) is not None and (count := as_count(count)) is not None:
        facts["total_tokens"] = count
    if (count := span.cached_tokens) is not None and (count := as_count(count)) is not None:
        facts["cache_read_tokens"] = count
    if span.model_name:
        facts["model"] = clean_text(span.model_name)
        if REQUEST_MODEL not in attributes:
            facts["request_model"] = facts["model"]
    if span.session_id:
        facts["conversation_id"] = clean_text(span.session_id)


def _name_kind(call: Call, column: str | None, recorded: Recorded) -> None:
    facts = call.facts
    model = facts.get("request_model") or facts.get("response_model")
    named = facts.get("provider")
    if named is not None:
        call.provider = named
    elif "system" in facts or "instrumentation" in facts:
        call.provider = provider(facts.get("system"), facts.get("instrumentation"), model)
    has_messages = bool(call.input or call.output)
    call.kind, call.operation = kind_of(column, recorded, call.provider, has_messages=has_messages)
    if call.kind is _OTHER and named is None and "system" not in facts:
        call.provider = None


def _finish(call: Call, recorded: Recorded) -> None:
    kind, facts = call.kind, call.facts
    if call.tools:
        call.tools = definitions(call.tools)
    if kind in _FINISH:
        _FINISH[kind](call, recorded)
    if call.output:
        _name_finish_reasons(call)
    if call.input:
        call.input = with_single_results(call.input)
    if kind in _WITHOUT_MESSAGES or not (_have_parts(call.input) or _have_parts(call.output)):
        call.input, call.output = (), ()
    if "cache_read_tokens" in facts or "cache_write_tokens" in facts:
        _mend_tokens(call)
    if "first_chunk_s" in facts:
        recorded_s = facts.pop("first_chunk_s")
        seconds = as_number(recorded_s) if facts.get("stream") is True else None
        if seconds is not None and seconds >= 0:
            facts["first_chunk_s"] = seconds


def _name_agent(call: Call, recorded: Recorded) -> None:
    _set_name(call.facts, "agent_name", recorded.name.removeprefix("invoke_agent "))


def _name_workflow(call: Call, recorded: Recorded) -> None:
    _set_name(call.facts, "workflow_name", recorded.name)


def _set_name(facts: dict[str, Any], fact: str, name: str) -> None:
    """Name an agent or a workflow after its entity or its span, unless a name was recorded."""
    found = facts.get("entity_name") or name
    if found:
        facts.setdefault(fact, found)


_FINISH: dict[Kind, Callable[[Call, Recorded], None]] = {
    Kind.TOOL: tool_run.read,
    Kind.AGENT: _name_agent,
    Kind.WORKFLOW: _name_workflow,
    Kind.RETRIEVER: retrieval.read,
    Kind.RERANKER: retrieval.read,
    Kind.EMBEDDING: retrieval.read,
}
"""Fields that are read of a call once its kind is known."""


def _have_parts(messages: Sequence[Message]) -> bool:
    return any(map(_parts_of, messages))


def _name_finish_reasons(call: Call) -> None:
    """Give each choice its reason, from the list of the response where the messages name none, and back."""
    listed = call.facts.get("finish_reasons")
    named = tuple(one.finish_reason for one in call.output if one.finish_reason)
    if named and listed is None:
        call.facts["finish_reasons"] = named
    elif listed and not named and len(listed) <= len(call.output):
        for one, reason in zip(call.output, listed, strict=False):
            one.finish_reason = reason


def _mend_tokens(call: Call) -> None:
    """Count cached tokens in, as the conventions do, where the total proves that the recorded input leaves them out."""
    facts = call.facts
    asked = facts.get("input_tokens")
    cached = (facts.get("cache_read_tokens") or 0) + (facts.get("cache_write_tokens") or 0)
    if asked is None or cached <= 0:
        return
    total = facts.get("total_tokens")
    if total is not None and total == asked + (facts.get("output_tokens") or 0) + cached:
        facts["input_tokens"] = asked + cached
        call.note("input_tokens_with_cached")
    elif asked < cached:
        call.note("input_tokens_without_cached")
