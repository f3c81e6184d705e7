"""GenAI histograms of live traffic: each call once, no old ones, in bounded memory and label sets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from netra_otel_bridge.convert import Privacy
from netra_otel_bridge.convert.genai_metrics import HISTOGRAMS, OPERATION_DURATION, TOKENS_USED
from netra_otel_bridge.core.clock import NS_PER_MS, NS_PER_S
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary
from netra_otel_bridge.service import genai_histograms
from netra_otel_bridge.service.genai_histograms import (
    LABEL_SETS,
    LIVE_NS,
    LabelBudget,
    LiveHistograms,
    SeenIds,
)
from netra_otel_bridge.service.metric_exporters import metric_readers
from tests.property.test_convert_properties import odd_spans
from tests.support.examples import examples
from tests.support.fake_clock import FakeClock

TRACE = TraceSummary(id="t", tenant_id="acme", environment="prod")
MINUTE_S = 60


class Rig:
    """Live histograms with a fake clock, and a reader that collects them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.warnings: list[str] = []
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.live = LiveHistograms(self.provider.get_meter("test"), self.clock.now_ns, warn=self.warnings.append)

    def span(self, span_id: str = "a", ended_s_ago: float | None = 1, took_s: float = 2, **columns: Any) -> TraceSpan:
        """Return a GENERATION of 10 and 20 tokens that ended ``ended_s_ago`` (``None``: it has not)."""
        end_ms = (self.clock.now_ns() - int((ended_s_ago or 0) * NS_PER_S)) // NS_PER_MS
        known = {
            "id": span_id,
            "trace_id": "t",
            "kind": "GENERATION",
            "start_time_ms": str(end_ms - int(took_s * 1000)),
            "end_time_ms": None if ended_s_ago is None else str(end_ms),
            "tenant_id": "acme",
            "model_name": "gpt-4o",
            "prompt_tokens": 10,
            "completion_tokens": 20,
        }
        return TraceSpan(**{**known, **columns})

    def read(self, *spans: TraceSpan, trace: TraceSummary = TRACE) -> None:
        self.live.read(trace, spans)

    def points(self, name: str) -> list[HistogramDataPoint]:
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
            if isinstance(point, HistogramDataPoint)
        ]

    def calls(self) -> int:
        """Return the number of recorded durations."""
        return sum(point.count for point in self.points(OPERATION_DURATION))

    def tokens(self) -> float:
        return sum(point.sum for point in self.points(TOKENS_USED))


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_live_call_is_in_both_histograms(rig: Rig) -> None:
    """A call records its tokens by type and its duration, with the conventions' buckets, units and attributes."""
    rig.read(rig.span(), rig.span("b", kind="TOOL"), rig.span("c", kind="SPAN"))
    (seconds,) = rig.points(OPERATION_DURATION)
    assert (seconds.count, seconds.sum) == (1, 2.0)
    assert seconds.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "netra.tenant.id": "acme",
        "deployment.environment.name": "prod",
    }
    tokens = {point.attributes["gen_ai.token.type"]: point for point in rig.points(TOKENS_USED)}  # type: ignore[index]  # these have attributes
    assert {kind: (point.count, point.sum) for kind, point in tokens.items()} == {"input": (1, 10), "output": (1, 20)}
    assert tuple(seconds.explicit_bounds) == HISTOGRAMS[1].boundaries
    assert tuple(tokens["input"].explicit_bounds) == HISTOGRAMS[0].boundaries
    assert rig.live.label_sets == {TOKENS_USED: 2, OPERATION_DURATION: 1}


def test_a_span_counts_once_however_many_lanes_read_it_and_however_often(rig: Rig) -> None:
    """A second lane's read of the same spans adds nothing; a second read of a grown trace adds the new spans."""
    rig.read(rig.span("a"))
    rig.read(rig.span("a"))
    rig.clock.elapsed_s += 5
    rig.read(rig.span("a", ended_s_ago=6), rig.span("b"), rig.span("b"))
    assert (rig.calls(), rig.tokens()) == (2, 60)


def test_the_same_span_id_in_another_trace_is_another_span(rig: Rig) -> None:
    """Equal span ids in two traces are two spans."""
    rig.read(rig.span("a"))
    rig.read(rig.span("a", trace_id="u"))
    assert rig.calls() == 2


def test_what_ended_long_ago_never_counts(rig: Rig) -> None:
    """Spans older than the bound are not recorded, for they would be stamped "now"; spans as far ahead are."""
    rig.read(rig.span("a", LIVE_NS / NS_PER_S), rig.span("b", 86400), rig.span("c", -LIVE_NS / NS_PER_S))
    assert rig.calls() == 0
    rig.read(rig.span("d", LIVE_NS / NS_PER_S - 1), rig.span("e", -30))
    assert rig.calls() == 2


def test_a_span_is_skipped_until_it_has_an_end(rig: Rig) -> None:
    """Neither a latency nor an unreadable time is an end; the first read with an end counts."""
    rig.read(rig.span("a", None, latency_ms=5), rig.span("b", end_time_ms="soon", latency_ms=5))
    assert rig.calls() == 0
    rig.read(rig.span("a"))
    assert (rig.calls(), rig.tokens()) == (1, 30)


def test_of_a_span_that_changes_its_first_reading_with_an_end_counts(rig: Rig) -> None:
    """Later tokens, another model or a later end add nothing, even after the first end is forgotten."""
    rig.read(rig.span("a"))
    for _ in range(40):
        rig.clock.elapsed_s += MINUTE_S
        rig.read(rig.span("a", prompt_tokens=99, model_name="other"))
    assert (rig.calls(), rig.tokens()) == (1, 30)


def test_a_trace_read_over_and_over_counts_once_up_to_the_end_of_its_live_time(rig: Rig) -> None:
    """Ids are kept while their spans are live, so no span is counted twice."""
    span = rig.span("a", ended_s_ago=-100)
    for _ in range(1200):
        rig.read(span)
        rig.clock.elapsed_s += 1
    assert rig.calls() == 1


def test_ids_are_held_no_longer_than_spans_are_live(rig: Rig) -> None:
    """A span is forgotten a minute after it stopped being live."""
    for number in range(1000):
        rig.read(rig.span(str(number)))
    assert len(rig.live._seen) == 1000
    rig.clock.elapsed_s += LIVE_NS / NS_PER_S + MINUTE_S
    rig.read()
    assert len(rig.live._seen) == 0
    assert rig.calls() == 1000


def test_at_the_cap_the_id_of_the_oldest_span_is_given_up() -> None:
    """At the cap the span that ended first is evicted."""
    seen = SeenIds(3)
    for number, minute in enumerate((5, 1, 9, 7, 3)):
        assert seen.add(number, minute * MINUTE_S * NS_PER_S)
        assert len(seen) <= 3
    assert not seen.add(2, 9 * MINUTE_S * NS_PER_S)
    assert not seen.add(4, 9 * MINUTE_S * NS_PER_S)
    assert seen.add(1, 9 * MINUTE_S * NS_PER_S)


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 40 * MINUTE_S), st.integers(-3 * MINUTE_S, 15 * MINUTE_S - 1)),
        max_size=60,
    )
)
def test_ids_agree_with_a_list_of_all(readings: list[tuple[int, int, int]]) -> None:
    """In any order of reads, a live id is known exactly if it was read while live."""
    seen = SeenIds(1000)
    latest: dict[int, int] = {}
    for number, step_s, ended_s_ago in sorted(readings, key=lambda reading: reading[1]):
        now_ns = (100_000 + step_s) * NS_PER_S
        end_ns = now_ns - ended_s_ago * NS_PER_S
        before_ns = now_ns - LIVE_NS
        latest = {
            known: end
            for known, end in latest.items()
            if (end // (MINUTE_S * NS_PER_S) + 1) > before_ns // (MINUTE_S * NS_PER_S)
        }
        seen.forget(before_ns)
        assert seen.add(number, end_ns) == (number not in latest)
        latest[number] = max(end_ns, latest.get(number, end_ns))
        assert len(seen) == len(latest)


def test_beyond_its_budget_model_and_tenant_become_other_and_one_line_says_so(rig: Rig) -> None:
    """Sums stay complete, known sets stay, and no instrument exceeds its limit of sets."""
    rig.read(*(rig.span(str(n), model_name=f"m{n}", tenant_id=f"acme{n}") for n in range(3000)))
    rig.read(rig.span("again", model_name="m0", tenant_id="acme0"))
    assert (rig.calls(), rig.tokens()) == (3001, 30 * 3001)
    durations = rig.points(OPERATION_DURATION)
    assert len(durations) == 1901
    assert all(count <= LABEL_SETS for count in rig.live.label_sets.values())
    counts = {
        (point.attributes["gen_ai.request.model"], point.attributes["netra.tenant.id"]): point.count  # type: ignore[index]  # these have attributes
        for point in durations
    }
    assert counts["other", "other"] == 3000 - 1900
    assert counts["m0", "acme0"] == 2
    (warning,) = rig.warnings
    assert warning.startswith(f"live metrics: {TOKENS_USED} has reached its 2000 label sets")
    assert "\n" not in warning


def test_no_attribute_at_all_passes_the_budget(rig: Rig) -> None:
    """Varying operations, providers and error types become ``other`` too, and the SDK drops nothing."""
    rig.read(
        *(
            rig.span(
                str(n),
                attributes=json.dumps({"gen_ai.operation.name": f"op{n}", "error.type": f"E{n}"}),
                has_error=True,
            )
            for n in range(2500)
        )
    )
    assert (rig.calls(), rig.tokens()) == (2500, 30 * 2500)
    for name, most in rig.live.label_sets.items():
        points = rig.points(name)
        assert len(points) == most <= LABEL_SETS
        assert not any("otel.metric.overflow" in (point.attributes or {}) for point in points)
    last = max(rig.points(OPERATION_DURATION), key=lambda point: point.count).attributes or {}
    assert set(last.values()) == {"other"}


NUMBERS = st.integers(0, 12).map(str)


@settings(max_examples=examples(200), deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"gen_ai.token.type": st.sampled_from(["input", "output"])},
            optional={"gen_ai.request.model": NUMBERS, "error.type": NUMBERS},
        ),
        max_size=80,
    )
)
def test_a_budget_is_kept_by_any_labels(sets: list[dict[str, str]]) -> None:
    """The budget admits at most its number of sets, and an admitted set stays admitted."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(genai_histograms, "LABEL_SETS", 12)
        patch.setattr(genai_histograms, "FOLDED_SETS", 6)
        budget = LabelBudget()
        shown = [budget.fit(labels) for labels in sets]
        assert len({tuple(labels.items()) for labels in shown}) == len(budget) <= 12
        for labels, first in zip(sets, shown, strict=True):
            assert first["gen_ai.token.type"] == labels["gen_ai.token.type"]
            assert budget.fit(labels) == first


def test_the_page_for_prometheus_shows_them() -> None:
    """Prometheus reads the names, units, types, buckets and labels."""
    readers, registry = metric_readers({})
    provider = MeterProvider(readers, shutdown_on_exit=False)
    clock = Rig()
    try:
        metrics = LiveHistograms(provider.get_meter("test"), clock.clock.now_ns)
        metrics.read(TRACE, [clock.span("a"), clock.span("b", has_error=True, tenant_id=None, model_name='"\n\ud800')])
        assert registry is not None
        page = generate_latest(registry).decode()
    finally:
        provider.shutdown()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    seconds, tokens = families["gen_ai_client_operation_duration_seconds"], families["gen_ai_client_token_usage"]
    assert (seconds.type, tokens.type) == ("histogram", "histogram")
    assert "live calls only" in seconds.documentation
    assert "live calls only" in tokens.documentation
    bounds = [
        sample.labels["le"]
        for sample in seconds.samples
        if sample.labels.get("netra_tenant_id") == "acme" and "le" in sample.labels
    ]
    assert bounds[0] == "0.01"
    assert bounds[-2:] == ["81.92", "+Inf"]
    sums = {
        (sample.labels["gen_ai_token_type"], sample.labels.get("netra_tenant_id", "")): sample.value
        for sample in tokens.samples
        if sample.name.endswith("_sum")
    }
    assert sums == {("input", "acme"): 10, ("output", "acme"): 20, ("input", ""): 10, ("output", ""): 20}
    errors = [sample.labels.get("error_type", "") for sample in seconds.samples if sample.name.endswith("_count")]
    assert sorted(errors) == ["", "_OTHER"]


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(odd_spans, max_size=5))
def test_no_span_stops_a_lane(spans: list[TraceSpan]) -> None:
    """Reading a span never raises, whatever it contains."""
    rig = Rig()
    now_ms = str(rig.clock.now_ns() // NS_PER_MS)
    live_ones = [TraceSpan(**{**_columns(span), "kind": "GENERATION", "end_time_ms": now_ms}) for span in spans]
    rig.read(*spans, *live_ones)
    assert rig.calls() <= len(live_ones)


def _columns(span: TraceSpan) -> dict[str, Any]:
    return {name: getattr(span, name) for name in span.__struct_fields__}


def test_labels_follow_the_privacy_policy() -> None:
    """A model, tenant or environment that is prose is no label where content is dropped; facts are."""
    rig = Rig()
    rig.live = LiveHistograms(rig.provider.get_meter("private"), rig.clock.now_ns, privacy=Privacy(content="drop"))
    rig.read(rig.span(model_name="tell me about my illness", environment="where it hurts"), rig.span("b"))
    labels = [dict(point.attributes or {}) for point in rig.points(OPERATION_DURATION)]
    tenant = {"gen_ai.operation.name": "chat", "netra.tenant.id": "acme"}
    assert labels == [tenant, tenant | {"gen_ai.request.model": "gpt-4o", "deployment.environment.name": "prod"}]
