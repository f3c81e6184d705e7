"""Dashboard queries for tests of the emulator, and spans for them to find."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.support.emulator import START_NS, Client, otlp_span

MS, SECOND, HOUR = 10**6, 10**9, 3600 * 10**9
NOON_NS = START_NS - START_NS % HOUR
"""2026-11-22T12:00:00Z"""
LLM = {
    "llm.request.type": "chat",
    "gen_ai.response.model": "gpt-4o",
    "gen_ai.usage.prompt_tokens": 1000,
    "gen_ai.usage.completion_tokens": 100,
}
COST = 0.0035
ALICE = {"netra.session_id": "s-1", "netra.user_id": "alice", "netra.tenant_id": "Acme"}
BOB = {"netra.session_id": "s-2", "netra.user_id": "bob", "netra.tenant_id": "Acme"}
RERANK = {"netra.span.type": "TOOL", "netra.usage": '[{"model": "r", "cost_in_usd": 0.5}]'}
PROD = {"service.name": "shop", "deployment.environment": "prod"}
DAY = {"startTime": "2026-11-22T00:00:00.000Z", "endTime": "2026-11-23T00:00:00.000Z"}


def asked(
    measure: str,
    aggregation: str,
    *,
    scope: str = "Spans",
    chart: str = "Number",
    step: str = "hour",
    dimension: str | None = None,
    filters: Iterable[dict[str, Any]] = (),
    window: dict[str, str] = DAY,
) -> dict[str, Any]:
    """Return the body of a query."""
    return {
        "scope": scope,
        "chartType": chart,
        "metrics": {"measure": measure, "aggregation": aggregation},
        "filter": {**window, "groupBy": step, "filters": list(filters)},
        **({"dimension": {"field": dimension}} if dimension else {}),
    }


async def fill(client: Client) -> None:
    """Send Alice's trace, which starts at 12:59:59 and has a late span of Bob's, and an unowned failed trace at 14:00."""
    start_ns = NOON_NS + HOUR - SECOND
    await client.send(
        otlp_span(
            1,
            1,
            name="root",
            start_ns=start_ns,
            duration_ns=4 * SECOND,
            attributes={**ALICE, "netra.custom.plan": "gold", "netra.pii.entities": ["EMAIL", "PHONE"]},
        ),
        otlp_span(
            1,
            2,
            parent=1,
            start_ns=start_ns + 100 * MS,
            duration_ns=300 * MS,
            attributes={**ALICE, **LLM, "gen_ai.performance.time_to_first_token": 0.25},
        ),
        otlp_span(1, 3, parent=1, start_ns=start_ns + 2 * SECOND, duration_ns=SECOND, attributes={**BOB, **LLM}),
        resource=PROD,
    )
    await client.send(
        otlp_span(
            2,
            4,
            start_ns=NOON_NS + 2 * HOUR,
            duration_ns=100 * MS,
            status={"code": 2},
            attributes={**RERANK, "netra.violation.detected": True},
        ),
    )
