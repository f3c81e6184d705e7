"""Usage instruments: each reads the value that its name promises, and ``docs/usage.md`` lists them all."""

from __future__ import annotations

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from netra_otel_bridge.service.metric_exporters import metric_readers
from netra_otel_bridge.service.telemetry import Telemetry
from netra_otel_bridge.usage.charts import MEASURES
from netra_otel_bridge.usage.instruments import USAGE_COUNTERS, USAGE_GAUGES
from netra_otel_bridge.usage.totals import Counted, UsageTotals
from netra_otel_bridge.usage.view import (
    ChartValue,
    PeriodTotals,
    ReplayedTotals,
    SessionTotals,
    UsageView,
)
from tests.support.cli import ROOT
from tests.support.health import service_health

PAGE = ROOT / "docs" / "usage.md"
VIEW = UsageView(
    counters=(("ace", Counted(UsageTotals(10, 2, 0.5), UsageTotals(1, 0, 0.25))),),
    periods=(PeriodTotals("ace", "current", UsageTotals(100, 20, 5.0), 7),),
    budgets=(("ace", 50.0),),
    sessions=(
        SessionTotals("s1", "ace", UsageTotals(30, 3, 1.5)),
        SessionTotals("other", None, UsageTotals(70, 17, 3.5)),
    ),
    charts=tuple(
        ChartValue(name, "model", "gpt-4o", number, quantile) for number, (name, quantile, *_) in enumerate(MEASURES, 1)
    ),
    replayed=(ReplayedTotals("jaeger", "ace", UsageTotals(tokens=90, cost=4.5), UsageTotals(tokens=100, cost=5.0)),),
    label_sets={"own": 1, "other": 0},
)


def shown() -> dict[str, tuple[str, list[tuple[dict[str, str], float]]]]:
    """Return help text and samples by name, as Prometheus sees them."""
    readers, registry = metric_readers({})
    telemetry = Telemetry(service_health, readers)
    telemetry.show((*USAGE_COUNTERS, *USAGE_GAUGES), lambda: VIEW)
    assert registry is not None
    text = generate_latest(registry).decode()
    telemetry.close()
    found: dict[str, tuple[str, list[tuple[dict[str, str], float]]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, (family.documentation, []))[1].append((sample.labels, sample.value))
    return found


def test_each_metric_is_what_its_name_says() -> None:
    """Counters, corrections, period gauges, sessions, budgets, charts and reconciliation show their own values."""
    ace = {"netra_tenant_id": "ace"}
    found = {name: samples for name, (_, samples) in shown().items()}
    assert found["netra_usage_tokens_total"] == [(ace, 10)]
    assert found["netra_usage_requests_total"] == [(ace, 2)]
    assert found["netra_usage_cost_USD_total"] == [(ace, 0.5)]
    assert found["netra_usage_corrections_tokens_total"] == [(ace, 1)]
    assert found["netra_usage_corrections_cost_USD_total"] == [(ace, 0.25)]
    current = {**ace, "netra_usage_period": "current"}
    assert found["netra_usage_period_cost_USD"] == [(current, 5.0)]
    assert found["netra_usage_period_sessions"] == [(current, 7)]
    assert found["netra_usage_budget_USD"] == [(ace, 50.0)]
    assert found["netra_usage_session_tokens"] == [
        ({**ace, "session_id": "s1"}, 30),
        ({"netra_tenant_id": "", "session_id": "other"}, 70),
    ]
    model = {"netra_dimension": "model", "netra_dimension_value": "gpt-4o"}
    assert found["netra_dashboard_latency_seconds"][:2] == [
        ({**model, "quantile": "0.5"}, 1),
        ({**model, "quantile": "0.9"}, 2),
    ]
    assert found["netra_dashboard_error_ratio"] == [(model, 5)]
    assert found["netra_bridge_replayed_tokens"] == [({**ace, "destination": "jaeger"}, 90)]
    assert found["netra_bridge_unreplayed_cost_USD"] == [({**ace, "destination": "jaeger"}, 0.5)]


def test_the_documentation_lists_each_metric() -> None:
    """``docs/usage.md`` has a row for each metric, with its Prometheus name, attributes and help text."""
    rows = [
        [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith(("| `netra.", "| `netra_bridge."))
    ]
    listed = {
        name: (prometheus, set(attributes.replace(".", "_").split(", ")), says)
        for name, prometheus, attributes, says in rows
    }
    assert set(listed) == {instrument.name for instrument in (*USAGE_COUNTERS, *USAGE_GAUGES)}
    found = shown()
    for prometheus, attributes, says in listed.values():
        text, samples = found[prometheus]
        assert attributes == set().union(*(labels for labels, _ in samples)), prometheus
        assert says == f"{text}.", prometheus


def test_no_two_metrics_have_the_same_name() -> None:
    """Names are unique, and so are the counters' help texts."""
    instruments = (*USAGE_COUNTERS, *USAGE_GAUGES)
    assert len({instrument.name for instrument in instruments}) == len(instruments)
    descriptions = [instrument.description for instrument in USAGE_COUNTERS]
    assert len(set(descriptions)) == len(descriptions)
