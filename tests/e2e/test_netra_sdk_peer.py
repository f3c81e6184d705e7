"""The real netra-sdk 1.2.2 and the emulator understand each other: each accepts what the other sends.

The SDK's client turns every failure into an empty result, so the tests check for results that must not be empty. Its
models are strict (pydantic): a field of a wrong type would have ended the session with an error.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from netra_otel_bridge.emulator import EmulatorOptions
from tests.support.emulator import Client, running_emulator
from tests.support.netra_sdk import READER, netra_sdk_python, run_session

API_KEY = "peer-key"
CASES = Path(__file__).parents[1] / "data" / "llm_cases"


@pytest.fixture(scope="module")
def session() -> dict[str, Any]:
    """Run the SDK once, against an emulator that asks for a key."""
    python = netra_sdk_python()
    with running_emulator(EmulatorOptions(port=0, api_key=API_KEY)) as emulator:
        result = run_session(python, emulator.endpoint, API_KEY)
        assert set(emulator.emulator.status) == {200}, emulator.emulator.status
        return result


def test_traces_come_back_page_by_page(session: dict[str, Any]) -> None:
    """With a limit of 1, two traces are two pages; the iterator then ends, and filters are applied."""
    read, sent = session["read"], session["sent"]
    first, second = read["pages"]
    assert [first["has_next_page"], second["has_next_page"]] == [True, False]
    (answered,), (failed,) = first["traces"], second["traces"]
    assert [answered["name"], failed["name"]] == ["answer", "failing"]
    assert answered["id"] == sent["trace"]
    assert [item["id"] for item in read["traces"]] == [failed["id"], answered["id"]]
    assert set(read["by_session"]) == {answered["id"], failed["id"]}
    assert read["by_other_user"] == []


def test_a_trace_carries_what_the_application_said(session: dict[str, Any]) -> None:
    """A trace has its session, user, tenant, environment, service, tokens and cost, and an error where the status says so."""
    answered, failed = (page["traces"][0] for page in session["read"]["pages"])
    assert (answered["session_id"], answered["user_id"], answered["tenant_id"]) == (
        "peer-session",
        "peer-user",
        "peer-tenant",
    )
    assert (answered["environment"], answered["service"], answered["kind"]) == ("peer-test", "peer-app", "SPAN")
    assert (answered["prompt_tokens"], answered["completion_tokens"], answered["cached_tokens"]) == (1000, 100, None)
    assert answered["total_cost"] == pytest.approx(1000 * 2.5e-6 + 100 * 1e-5 + 0.002)
    assert (answered["has_error"], failed["has_error"]) == (False, True)


def test_spans_come_back_with_everything_on_them(session: dict[str, Any]) -> None:
    """Each span comes once in either direction, with readable JSON texts and known parents."""
    read, sent = session["read"], session["sent"]
    spans = {span["name"]: span for span in read["spans"]}
    assert set(spans) == {"answer", "weather-agent", "look-up", "completion", "rerank"}
    assert [span["id"] for span in read["spans"]] == read["spans_up"][::-1]
    assert (len(read["span_page"]["spans"]), read["span_page"]["has_next_page"]) == (2, True)
    assert read["found"] == ["completion"]
    assert spans["completion"]["id"] == sent["generation"]
    assert {name: span["kind"] for name, span in spans.items()} == {
        "answer": "SPAN",
        "weather-agent": "AGENT",
        "look-up": "TOOL",
        "completion": "GENERATION",
        "rerank": "CLIENT",
    }
    assert spans["answer"]["parent_span_id"] is None
    assert spans["completion"]["parent_span_id"] == spans["weather-agent"]["id"]
    assert spans["answer"]["metadata"] == {"plan": "gold"}
    attributes = {name: json.loads(span["attributes"]) for name, span in spans.items()}
    assert attributes["completion"]["gen_ai.usage.prompt_tokens"] == 1000
    assert json.loads(attributes["rerank"]["netra.usage"])[0]["cost_in_usd"] == 0.002
    (event,) = json.loads(spans["look-up"]["events"])
    assert (event["name"], event["attributes"]) == ("looked-up", {"city": "Lagos", "hits": 3})
    assert json.loads(spans["answer"]["resources"])["service.name"] == "peer-app"
    assert 10 <= spans["completion"]["latency_ms"] < 10_000


def test_findings_are_columns_of_their_span_and_trace(session: dict[str, Any]) -> None:
    """The SDK reads the PII and violations that it reported as columns, of the span and of its trace."""
    spans = {span["name"]: span for span in session["read"]["spans"]}
    found = {
        "has_pii": True,
        "pii_entities": ["EMAIL_ADDRESS"],
        "pii_actions": {"MASK": ["EMAIL_ADDRESS"]},
        "has_violation": True,
        "violations": ["PROMPT_INJECTION"],
        "violation_actions": {"FLAG": ["PROMPT_INJECTION"]},
    }
    assert {name: spans["weather-agent"][name] for name in found} == found
    assert not any(span["has_pii"] or span["has_violation"] for name, span in spans.items() if name != "weather-agent")
    answered, failed = (page["traces"][0] for page in session["read"]["pages"])
    assert (answered["has_pii"], answered["pii_entities"]) == (True, ["EMAIL_ADDRESS"])
    assert (answered["has_violation"], answered["violations"]) == (True, ["PROMPT_INJECTION"])
    assert (failed["has_pii"], failed["has_violation"]) == (False, False)


async def test_the_sdk_reads_what_it_recorded() -> None:
    """Every recording of an SDK, sent over OTLP, is read by the SDK's own models with every value of the API."""
    python = netra_sdk_python()
    with running_emulator(EmulatorOptions(port=0)) as emulator:
        async with Client(emulator.url) as client:
            for path in sorted(CASES.glob("netra-*")):
                headers = {"content-type": "application/json"}
                await client.json("POST", "/telemetry/v1/traces", data=path.read_bytes(), headers=headers)
            traces = (await client.traces(pagination={"limit": 100}))["data"]
            items = [item for trace in traces for item in (await client.spans(trace["id"], limit=100))["data"]]
        read = await asyncio.to_thread(run_session, python, emulator.endpoint, API_KEY, READER)
    assert len(traces) > 30
    assert {item["kind"] for item in items} >= {"GENERATION", "EMBEDDING", "TOOL", "AGENT", "GUARDRAIL", "HANDOFF"}
    assert read["traces"] == traces
    assert read["spans"] == items


def test_usage_adds_up(session: dict[str, Any]) -> None:
    """The sums cover the calls that cost: the completion, the re-ranking, and the refused completion."""
    read = session["read"]
    cost = pytest.approx(1000 * 2.5e-6 + 100 * 1e-5 + 0.002)
    assert read["session"] == {
        "session_id": "peer-session",
        "token_count": 1100,
        "request_count": 3,
        "total_cost": cost,
    }
    assert read["tenant"] == {
        "tenant_id": "peer-tenant",
        "organisation_id": "org-local",
        "token_count": 1100,
        "request_count": 3,
        "session_count": 1,
        "total_cost": cost,
    }
    assert read["nobody"] == [None, None]


def test_the_dashboard_sums_the_spans(session: dict[str, Any]) -> None:
    """Each number agrees with the spans that the SDK read, and with its usage call."""
    numbers, spans, tenant = session["dashboard"]["numbers"], session["read"]["all_spans"], session["read"]["tenant"]
    assert {span["tenant_id"] for span in spans} == {"peer-tenant"}
    latencies = [span["latency_ms"] for span in spans]
    assert numbers == {
        "Total Cost Sum": pytest.approx(sum(span["total_cost"] or 0 for span in spans)),
        "Total Cost Total Count": pytest.approx(tenant["total_cost"]),
        "Total Tokens Total Count": tenant["token_count"],
        "Request Count Total Count": tenant["request_count"],
        "Error Rate Percentage": pytest.approx(100 * sum(span["has_error"] for span in spans) / len(spans)),
        "PII Count Total Count": 1,
        "Violations Total Count": 1,
        "Latency Average": pytest.approx(statistics.mean(latencies)),
        "Latency Median (p50)": pytest.approx(statistics.median(latencies)),
        "Latency p99": pytest.approx(statistics.quantiles(latencies, n=100, method="inclusive")[98]),
    }
    assert numbers["Error Rate Percentage"] > 0
    assert (session["dashboard"]["traces"], session["dashboard"]["by_models"]) == (2, 1)


def test_the_dashboard_splits_by_time_and_dimension(session: dict[str, Any]) -> None:
    """The parts agree with the spans; those without a model are under the empty model."""
    charts, spans, tenant = session["dashboard"], session["read"]["all_spans"], session["read"]["tenant"]
    assert sum(point["value"] for point in charts["series"]) == pytest.approx(tenant["total_cost"])
    assert all(point["date"].endswith(":00:00.000Z") for point in charts["series"])
    by_model: dict[str, float] = {}
    for span in spans:
        if span["total_cost"] is not None:
            by_model[span["model_name"] or ""] = by_model.get(span["model_name"] or "", 0) + span["total_cost"]
    assert {bar["dimension"]: bar["value"] for bar in charts["by_model"]} == pytest.approx(by_model)
    assert set(by_model) == {"gpt-4o", "rerank-v3"}
    values = [value for step in charts["by_service"] for value in step["values"]]
    assert {value["dimension"] for value in values} == {"peer-app"}
    assert sum(value["value"] for value in values) == tenant["token_count"]


def test_the_dashboard_lists_sessions(session: dict[str, Any]) -> None:
    """The list, the sum and the session itself agree with its usage call."""
    charts, usage = session["dashboard"], session["read"]["session"]
    (listed,) = charts["sessions"]
    assert (listed["session_id"], listed["totalRequests"]) == ("peer-session", usage["request_count"])
    assert listed["totalCost"] == pytest.approx(usage["total_cost"])
    assert (charts["page"]["data"], charts["page"]["has_next_page"]) == ([{**listed, "cursor": ANY}], False)
    summary = charts["summary"]
    assert (summary["totalSessions"], summary["totalCost"]) == (1, pytest.approx(usage["total_cost"]))
    assert charts["details"] == charts["details_ever"]
    assert charts["details"]["sessionId"] == "peer-session"
    traces = charts["details"]["traces"]
    assert sorted(trace["id"] for trace in traces) == sorted(trace["id"] for trace in session["read"]["traces"])
    assert sum(trace["total_tokens"] or 0 for trace in traces) == usage["token_count"]
    assert charts["details_nobody"] is None


def test_the_prices_are_those_of_the_costs(session: dict[str, Any]) -> None:
    """1000 tokens in and 100 out, at the listed price, give the cost of the span."""
    (entry,) = session["dashboard"]["prices"]
    prices = {price["usage_type"]: price["price"] for price in entry["prices"]}
    (span,) = [span for span in session["read"]["all_spans"] if span["id"] == session["sent"]["generation"]]
    assert span["total_cost"] == pytest.approx(1000 * prices["input"] + 100 * prices["output"])
