"""Netra's emulator and the bridge agree on the spans whose tokens and costs count."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from netra_otel_bridge.convert.costs import is_metered
from netra_otel_bridge.core.model.netra import TraceSpan
from netra_otel_bridge.emulator import Store
from netra_otel_bridge.emulator.otlp import read_json
from netra_otel_bridge.emulator.sample_traffic import Traffic
from tests.support.emulator import START_NS

CASES = sorted((Path(__file__).parents[1] / "data" / "llm_cases").glob("*.json"))


def disagreements(store: Store) -> list[str]:
    """Return the names of spans that only one of the two counts."""
    rows = [row for trace in store.starting_in(0, 1 << 64) for row in store.rows(trace)]
    assert rows
    spans = [(msgspec.json.decode(row.body, type=TraceSpan), row.columns.counted) for row in rows]
    return [span.name for span, counted in spans if is_metered(span) != counted]


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name.partition(".")[0])
def test_the_spans_of_a_recording_that_count(path: Path) -> None:
    """Whatever a dialect calls a call to a model, both count it or neither does."""
    store = Store()
    assert store.ingest(read_json(path.read_bytes())) == []
    assert disagreements(store) == []


def test_the_spans_of_sample_traffic_that_count() -> None:
    """The tokens of every conversation are in both sums or in none."""
    made = Traffic(seed=1, traces=100, spans_per_trace=10, end_ns=START_NS, range_ns=3_600_000_000_000)
    store = Store()
    store.add_recipes(made.recipes(), made.locate)
    assert disagreements(store) == []
