"""The OpenMetrics file contains exactly what was written to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from netra_otel_bridge.usage.backfill import UsageReading
from netra_otel_bridge.usage.backfill_output import write_openmetrics
from netra_otel_bridge.usage.totals import UsageTotals

ODD = ("ok", "cr\rx", "crlf\r\nx", 'a"b\\c\nd', "\u2028\x85\x00\t", "other")
START_NS = 1_795_300_000 * 10**9


async def readings() -> AsyncIterator[UsageReading]:
    for tenant_id in ODD:
        for step in range(2):
            yield UsageReading(tenant_id, START_NS + step * 10**9, UsageTotals(step, step, float(step)))


async def test_odd_names_come_back(tmp_path: Path) -> None:
    """Line breaks in a name never become line breaks of the file, on any platform."""
    path = tmp_path / "usage.om"
    assert await write_openmetrics(path, readings(), {}) == 3 * 2 * len(ODD)
    text = path.read_bytes().decode()
    found = {
        sample.labels["netra_tenant_id"] for family in text_string_to_metric_families(text) for sample in family.samples
    }
    assert found == set(ODD)
