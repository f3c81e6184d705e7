"""Runs inside the environment of netra-sdk 1.2.2: sends spans as an application does, and reads them back.

Prints one line of JSON: what the application knows it sent, and what ``Netra.usage`` returned.
"""

import json
import time
from datetime import UTC, datetime, timedelta

from netra import Netra
from netra.decorators import agent, task, workflow
from netra.span_wrapper import ActionModel, SpanType, UsageModel
from opentelemetry import trace

sent = {}


@task(name="look-up")
def look_up(city):
    Netra.set_custom_event("looked-up", {"city": city, "hits": 3})
    return {"city": city, "temp_c": 31}


@agent(name="weather-agent")
def weather_agent(question):
    weather = look_up("Lagos")
    with Netra.start_span("completion", as_type=SpanType.GENERATION) as span:
        span.set_model("gpt-4o").set_llm_system("openai").set_prompt(question)
        current = trace.get_current_span()
        current.set_attribute("gen_ai.request.model", "gpt-4o")
        current.set_attribute("gen_ai.usage.prompt_tokens", 1000)
        current.set_attribute("gen_ai.usage.completion_tokens", 100)
        sent["generation"] = format(current.get_span_context().span_id, "016x")
        time.sleep(0.01)
    with Netra.start_span("rerank", as_type=SpanType.TOOL) as span:
        span.set_usage([UsageModel(model="rerank-v3", usage_type="units", units_used=3, cost_in_usd=0.002)])
        span.set_action([ActionModel(action="search", action_type="vector_db", success=True)])
    return weather


@workflow(name="answer")
def answer(question):
    Netra.set_custom_attributes("plan", "gold")
    sent["trace"] = format(trace.get_current_span().get_span_context().trace_id, "032x")
    return weather_agent(question)


@workflow(name="failing")
def failing():
    with Netra.start_span("refused", as_type=SpanType.GENERATION):
        raise ValueError("the model refused")


def iso(when):
    return when.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def main():
    began = datetime.now(UTC)
    Netra.init(
        app_name="peer-app", environment="peer-test", disable_batch=False, instruments=set(), root_instruments=None
    )
    Netra.set_session_id("peer-session")
    Netra.set_user_id("peer-user")
    Netra.set_tenant_id("peer-tenant")
    answer("What is the weather in Lagos? ⛅")
    try:
        failing()
    except ValueError as error:
        sent["error"] = str(error)
    # A processor of the SDK answers None to force_flush, which ends the flush before the exporter; shutdown drains it.
    Netra.shutdown()

    window = (iso(began - timedelta(hours=1)), iso(began + timedelta(hours=1)))
    usage = Netra.usage
    first = usage.list_traces(*window, limit=1, sort_field="start_time", sort_order="asc")
    second = usage.list_traces(*window, limit=1, cursor=first.next_cursor, sort_field="start_time", sort_order="asc")
    page = usage.list_spans_by_trace_id(sent["trace"], limit=2)
    read = {
        "pages": [first.model_dump(), second.model_dump()],
        "traces": [item.model_dump() for item in usage.iter_traces(*window, limit=1)],
        "by_session": [item.id for item in usage.iter_traces(*window, session_id="peer-session")],
        "by_other_user": [item.id for item in usage.iter_traces(*window, user_id="nobody")],
        "span_page": page.model_dump(),
        "spans": [item.model_dump() for item in usage.iter_spans_by_trace_id(sent["trace"], limit=2)],
        "spans_up": [item.id for item in usage.iter_spans_by_trace_id(sent["trace"], limit=2, direction="up")],
        "found": [item.name for item in usage.iter_spans_by_trace_id(sent["trace"], span_name="GENERATION")],
        "session": usage.get_session_usage("peer-session", *window).model_dump(),
        "tenant": usage.get_tenant_usage("peer-tenant", *window).model_dump(),
        "nobody": [usage.get_session_usage("nobody", *window), usage.get_tenant_usage("nobody", *window)],
    }
    print(json.dumps({"sent": sent, "read": read}))


main()
