"""Runs inside the environment of netra-sdk 1.2.2: sends spans as an application does, and reads them back.

Prints one line of JSON: what the application knows it sent, and what ``Netra.usage``, ``Netra.dashboard`` and
``Netra.models`` returned.
"""

import json
import time
from datetime import UTC, datetime, timedelta

from netra import Netra
from netra.dashboard import (
    Aggregation,
    CategoricalDataPoint,
    ChartType,
    Dimension,
    DimensionField,
    Filter,
    FilterConfig,
    FilterField,
    GroupBy,
    Measure,
    Metrics,
    NumberResponse,
    Operator,
    Scope,
    SessionFilter,
    SessionFilterConfig,
    SessionFilterField,
    SessionFilterOperator,
    SessionFilterType,
    SortField,
    SortOrder,
    TimeSeriesDataPoint,
    TimeSeriesWithDimension,
    Type,
)
from netra.decorators import agent, task, workflow
from netra.span_wrapper import ActionModel, SpanType, UsageModel
from opentelemetry import trace

sent = {}


@task(name="look-up")
def look_up(city):
    Netra.set_custom_event("looked-up", {"city": city, "hits": 3})
    return {"city": city, "temp_c": 31}


def guard():
    """Report what the SDK's detectors report; they need packages of many hundred megabytes, their events do not."""
    Netra.set_custom_event(
        "pii_detected",
        {
            "has_pii": True,
            "pii_entities": json.dumps({"EMAIL_ADDRESS": 1}),
            "is_blocked": False,
            "is_masked": True,
            "pii_actions": json.dumps({"MASK": ["EMAIL_ADDRESS"]}),
            "masked_text": "Tell <EMAIL_ADDRESS> about it.",
        },
    )
    Netra.set_custom_event(
        "violation_detected",
        {
            "has_violation": True,
            "violations": ["PROMPT_INJECTION"],
            "is_blocked": False,
            "violation_actions": json.dumps({"FLAG": ["PROMPT_INJECTION"]}),
        },
    )


@agent(name="weather-agent")
def weather_agent(question):
    guard()
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


def chart(window, scope, chart_type, measure, aggregation, filters=(), dimension=None):
    """Run one query, and return its data as the SDK's own models read it."""
    asked = FilterConfig(
        start_time=window[0],
        end_time=window[1],
        group_by=GroupBy.HOUR,
        filters=[
            Filter(field=field, operator=operator, type=kind, value=value) for field, operator, kind, value in filters
        ]
        or None,
    )
    answer = Netra.dashboard.query_data(
        scope=scope,
        chart_type=chart_type,
        metrics=Metrics(measure=measure, aggregation=aggregation),
        filter=asked,
        dimension=None if dimension is None else Dimension(field=dimension),
    )
    data = answer["data"]
    if chart_type is ChartType.NUMBER:
        return NumberResponse(**data).value
    if chart_type not in (ChartType.LINE_TIME_SERIES, ChartType.BAR_TIME_SERIES):
        return [CategoricalDataPoint(**item).model_dump() for item in data]
    if dimension is None:
        return [TimeSeriesDataPoint(**item).model_dump() for item in data]
    return [TimeSeriesWithDimension(**item).model_dump() for item in data["timeSeries"]]


def dashboard(window):
    """Return what the dashboard shows of the session."""
    mine = [(FilterField.TENANT_ID, Operator.EQUALS, Type.STRING, "peer-tenant")]
    session_filter = SessionFilter(
        field=SessionFilterField.TENANT_ID,
        operator=SessionFilterOperator.ANY_OF,
        type=SessionFilterType.ARRAY,
        value=["peer-tenant"],
    )
    spans, number = Scope.SPANS, ChartType.NUMBER
    sessions = Netra.dashboard
    order = {"sort_field": SortField.TOTAL_COST, "sort_order": SortOrder.DESC}
    return {
        "numbers": {
            f"{measure.value} {aggregation.value}": chart(window, spans, number, measure, aggregation, mine)
            for measure, aggregation in (
                (Measure.TOTAL_COST, Aggregation.SUM),
                (Measure.TOTAL_COST, Aggregation.TOTAL_COUNT),
                (Measure.TOTAL_TOKENS, Aggregation.TOTAL_COUNT),
                (Measure.REQUEST_COUNT, Aggregation.TOTAL_COUNT),
                (Measure.ERROR_RATE, Aggregation.PERCENTAGE),
                (Measure.PII_COUNT, Aggregation.TOTAL_COUNT),
                (Measure.VIOLATIONS, Aggregation.TOTAL_COUNT),
                (Measure.LATENCY, Aggregation.AVERAGE),
                (Measure.LATENCY, Aggregation.MEDIAN),
                (Measure.LATENCY, Aggregation.P99),
            )
        },
        "traces": chart(window, Scope.TRACES, number, Measure.REQUEST_COUNT, Aggregation.TOTAL_COUNT, mine),
        "by_models": chart(
            window,
            Scope.TRACES,
            number,
            Measure.REQUEST_COUNT,
            Aggregation.TOTAL_COUNT,
            [(FilterField.MODELS, Operator.ANY_OF, Type.ARRAY_OPTIONS, ["gpt-4o"])],
        ),
        "series": chart(window, spans, ChartType.LINE_TIME_SERIES, Measure.TOTAL_COST, Aggregation.SUM, mine),
        "by_model": chart(
            window, spans, ChartType.PIE, Measure.TOTAL_COST, Aggregation.SUM, mine, DimensionField.MODEL_NAME
        ),
        "by_service": chart(
            window,
            spans,
            ChartType.BAR_TIME_SERIES,
            Measure.TOTAL_TOKENS,
            Aggregation.SUM,
            mine,
            DimensionField.SERVICE,
        ),
        "sessions": list(sessions.iter_session_stats(*window, filters=[session_filter], **order)),
        "page": sessions.get_session_stats(*window, limit=1).model_dump(),
        "summary": sessions.get_session_summary(
            SessionFilterConfig(start_time=window[0], end_time=window[1], filters=[session_filter])
        ),
        "details": sessions.get_session_details("peer-session", *window),
        "details_ever": sessions.get_session_details("peer-session"),
        "details_nobody": sessions.get_session_details("nobody"),
        "prices": Netra.models.get_model_pricing("gpt-4o"),
    }


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
    read["all_spans"] = [
        span.model_dump() for item in read["traces"] for span in usage.iter_spans_by_trace_id(item["id"])
    ]
    print(json.dumps({"sent": sent, "read": read, "dashboard": dashboard(window)}))


main()
