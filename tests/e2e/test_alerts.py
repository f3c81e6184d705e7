"""Each alert fires when it should: promtool evaluates the rules on hours and days of made-up figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.monitoring import RULES, alerts
from tests.support.prometheus import JOB, promtool

HOUR, DAY = 60, 24 * 60
"""Minutes. Time begins with January 1970, a month of 31 days."""
SLOW = 10
"""Minutes between two values in cases that last days."""


@dataclass(frozen=True, slots=True)
class Case:
    """Figures (promtool's notation, one value each ``step`` minutes), and whether the alert fires at certain minutes."""

    alert: str
    figures: dict[str, str]
    fires: dict[int, bool]
    step: int = 1


def spent(tenant: str, values: str, budget: float) -> dict[str, str]:
    """Return the series of a tenant's month to date and its budget."""
    return {
        f'netra_usage_period_cost_USD{{netra_tenant_id="{tenant}",netra_usage_period="current"}}': values,
        f'netra_usage_budget_USD{{netra_tenant_id="{tenant}"}}': f"{budget}+0x{DAY}",
    }


def counted(values: str, instrument: str = "netra_usage_cost_USD_total") -> dict[str, str]:
    return {f'{instrument}{{netra_tenant_id="acme"}}': values}


def bridge(metric: str, values: str) -> dict[str, str]:
    return {f'{metric}{{job="{JOB}",instance="here",destination="tempo"}}': values}


def replayed(done: float, missing: float) -> dict[str, str]:
    labels = '{instance="here",destination="tempo",netra_tenant_id="acme"}'
    return {
        f"netra_bridge_replayed_tokens{labels}": f"{done}+0x{DAY}",
        f"netra_bridge_unreplayed_tokens{labels}": f"{missing}+0x{DAY}",
    }


PREVIOUS = 'netra_usage_period_cost_USD{netra_tenant_id="acme",netra_usage_period="previous"}'
STEADY, DAILY = f"0+0.2x{3 * DAY // SLOW}", 28.8
"""Spending at a steady pace: each `SLOW` minutes, and per day."""
CASES = (
    Case("NetraBudgetNearlyUsed", spent("acme", "80+0x60", 100), {4: False, 5: True}),
    Case("NetraBudgetNearlyUsed", spent("acme", "79+0x60", 100), {30: False}),
    Case("NetraBudgetNearlyUsed", spent("acme", "100+0x60", 100), {30: False}),
    Case("NetraBudgetNearlyUsed", spent("acme", "0+0x60", 0), {30: False}),
    Case("NetraBudgetNearlyUsed", {**spent("acme", "10+0x60", 100), PREVIOUS: "90+0x60"}, {30: False}),
    Case("NetraBudgetExceeded", spent("acme", "100+0x60", 100), {4: False, 5: True}),
    Case("NetraBudgetExceeded", spent("acme", "0.01+0x60", 0), {5: True}),
    Case("NetraBudgetExceeded", spent("acme", "99+0x60", 100), {30: False}),
    Case(
        "NetraBudgetWillBeExceeded",
        {**spent("acme", STEADY, 31 * DAILY - 40), **counted(STEADY)},
        {DAY // 2: False, 2 * DAY: True},
        SLOW,
    ),
    Case(
        "NetraBudgetWillBeExceeded",
        {**spent("acme", STEADY, 31 * DAILY + 40), **counted(STEADY)},
        {DAY: False, 2 * DAY: False, 3 * DAY: False},
        SLOW,
    ),
    Case(
        "NetraBudgetWillBeExceeded",
        {**spent("acme", STEADY, DAILY), **counted(STEADY)},
        {DAY - HOUR: True, 2 * DAY: False},
        SLOW,
    ),
    Case("NetraSpendSpike", counted(STEADY), {26 * HOUR: False}, SLOW),
    Case("NetraSpendSpike", counted("0+0.2x156 32+1x6"), {26 * HOUR: False, 27 * HOUR: True}, SLOW),
    Case("NetraSpendSpike", counted("0+0.001x156 0.2+0.1x6"), {27 * HOUR: False}, SLOW),
    Case("NetraSpendSpike", counted("_x60 0+0.001x6 0+1x6"), {12 * HOUR: False}, SLOW),
    Case(
        "NetraUsageTakenBack",
        counted("0+0x60 3+0x300", "netra_usage_corrections_cost_USD_total"),
        {50: False, 70: True, 200: False},
    ),
    Case("NetraBridgeDown", bridge("up", "1+0x10 0+0x20"), {10: False, 14: False, 17: True}),
    Case("NetraUsageNotPolled", bridge("netra_bridge_usage_age_seconds", "0+60x30"), {10: False, 13: True}),
    Case("NetraUsageDown", bridge("netra_bridge_usage_up", "1+0x10 0+0x30"), {20: False, 22: True}),
    Case("NetraLaneDown", bridge("netra_bridge_lane_up", "1+0x10 0+0x30 1+0x30"), {25: False, 27: True, 50: False}),
    Case("NetraLaneLags", bridge("netra_bridge_lag_seconds", "60+0x10 60+60x60"), {15: False, 30: False, 40: True}),
    Case(
        "NetraLagNegative",
        bridge("netra_bridge_lag_seconds", "60+0x10 -3600+0x20 0+0x20"),
        {10: False, 13: True, 40: False},
    ),
    Case(
        "NetraClocksDisagree",
        bridge("netra_bridge_clock_offset_seconds", "1+0x10 -86400+0x30"),
        {10: False, 13: False, 17: True},
    ),
    Case("NetraClocksDisagree", bridge("netra_bridge_clock_offset_seconds", "3600+0x3 0+0x30"), {3: False, 20: False}),
    Case(
        "NetraSpansRefused",
        bridge("netra_bridge_spans_refused_total", "0+0x60 7+0x300"),
        {50: False, 70: True, 200: False},
    ),
    Case(
        "NetraDeadLetters",
        bridge("netra_bridge_spans_dead_lettered_total", "0+0x60 1+0x300"),
        {50: False, 70: True, 200: False},
    ),
    Case(
        "NetraTracesHeldBack",
        bridge("netra_bridge_traces_held_back", "0+0x10 2+0x90 0+0x30"),
        {50: False, 72: True, 105: False},
    ),
    Case(
        "NetraSpansDidNotArrive",
        {
            **bridge("netra_bridge_missing_total", "0+0x60 3+0x300"),
            **bridge("netra_bridge_changed_total", "0+0x360"),
        },
        {50: False, 70: True, 200: False},
    ),
    Case(
        "NetraArrivalNotVerified",
        bridge("netra_bridge_verify_failures_total", "0+0x30 0+1x60 60+0x60"),
        {30: False, 50: False, 75: True, 150: False},
    ),
    Case("NetraSpansUnreplayed", replayed(980, 20), {HOUR: False, 3 * HOUR: True}),
    Case("NetraSpansUnreplayed", replayed(995, 5), {3 * HOUR: False}),
    Case("NetraSpansUnreplayed", replayed(0, 0), {3 * HOUR: False}),
    Case("NetraSpansUnreplayed", replayed(1000, -20), {3 * HOUR: False}),
)


def promtools(case: Case) -> dict[str, Any]:
    """Return the case in the form of ``promtool test rules``."""
    return {
        "interval": f"{case.step}m",
        "input_series": [{"series": series, "values": values} for series, values in case.figures.items()],
        "promql_expr_test": [
            {
                "expr": f'count by (alertname) (ALERTS{{alertname="{case.alert}",alertstate="firing"}})',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": f'{{alertname="{case.alert}"}}', "value": 1}] if fires else [],
            }
            for minute, fires in case.fires.items()
        ],
    }


@pytest.mark.parametrize("step", [1, SLOW])
def test_alerts_fire_when_they_say(tmp_path: Path, step: int) -> None:
    """An alert fires not before its waiting time, not below its threshold, and no longer than the cause lasts."""
    cases = [promtools(case) for case in CASES if case.step == step]
    path = tmp_path / "tests.yml"
    path.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": f"{step}m", "tests": cases}))
    assert "SUCCESS" in promtool("test", "rules", path)


def test_each_alert_is_seen_to_fire_and_not_to() -> None:
    """Each alert has a case in which it fires, and one in which it does not."""
    names = {alert.name for alert in alerts()}
    assert {case.alert for case in CASES if any(case.fires.values())} == names
    assert {case.alert for case in CASES if not all(case.fires.values())} == names
