"""Usage, live calls and the bridge itself in a real Prometheus, which evaluates each query of the dashboard and each
alert.

The tests share one story. Three tenants call models in two environments, in sessions of their own. One is far over its
budget, one near it, one far below. Netra takes usage back once. Of three destinations one accepts everything, one
rejects some spans, one is not there.
"""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import grpc
import pytest

from netra_otel_bridge.emulator import EmulatorOptions, pricing
from netra_otel_bridge.emulator.otlp import read_document
from tests.support.child import Child
from tests.support.cli import CANARY, environment
from tests.support.emulator import ThreadedEmulator, otlp_document, otlp_span, running_emulator
from tests.support.fake_destination import PartialSuccess, Received, Reject
from tests.support.judging_destination import JudgingDestination, span_ids
from tests.support.monitoring import (
    CONFIG,
    RULES,
    Alert,
    PanelQuery,
    alerts,
    label_variables,
    panel_queries,
    rules_without_waiting,
    selectors,
)
from tests.support.prometheus import Labels, Prometheus, promtool, running_prometheus
from tests.support.server import LOG_CHARACTERS, free_ports

S, HOUR_S, YOUNG_H = 10**9, 3600, 4
OVER, NEAR, BELOW = "acme", "globex", "initech"
SERVICES = (("shop", "production"), ("desk", "staging"))
MODELS = ("gpt-4o", "gpt-4o-mini")
FIRING = {
    "NetraBudgetExceeded": {OVER},
    "NetraBudgetNearlyUsed": {NEAR},
    "NetraUsageTakenBack": {OVER, NEAR, BELOW},
    "NetraLaneDown": None,
    "NetraLaneLags": None,
    "NetraSpansRefused": None,
    "NetraDeadLetters": None,
    "NetraSpansUnreplayed": None,
    "NetraBridgeDown": None,
}
"""The alerts that fire in the story, and for which tenants."""
MAY_FIRE = {"NetraBudgetWillBeExceeded"}
"""This alert depends on how much is left of the month."""
each_alert = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
each_query = pytest.mark.parametrize("query", panel_queries(), ids=str)


@dataclass(frozen=True, slots=True)
class Story:
    """The outcome: a Prometheus, the time ``at_s`` to ask about, the alerts that fired, the usage."""

    prometheus: Prometheus
    at_s: float
    fired: list[dict[str, Any]]
    tokens: dict[str, int]

    def ask(self, expr: str) -> list[tuple[Labels, float]]:
        """Return the value that an expression had while everything ran."""
        return self.prometheus.query(expr, self.at_s)

    def firing(self, name: str) -> list[dict[str, Any]]:
        return [alert for alert in self.fired if alert["labels"]["alertname"] == name]


class Netra:
    """The local Netra, and the usage on it."""

    def __init__(self, emulator: ThreadedEmulator) -> None:
        self._emulator = emulator
        self._spans = 0
        self.tokens = dict.fromkeys((OVER, NEAR, BELOW), 0)
        self.cost = dict.fromkeys((OVER, NEAR, BELOW), 0.0)
        self.set_faults = emulator.set_faults

    def upcoming(self) -> list[str]:
        """Return the ids of the spans that the next `use` makes."""
        return [f"{self._spans + place:016x}" for place in range(1, 1 + len(SERVICES) * len(MODELS))]

    def use(self, tenant: str, prompt: int, *, ago_s: float = 2) -> None:
        """Make a trace in each environment, in a session of its own; each calls each model, and the second call fails."""
        for service, deployed in SERVICES:
            resource = {"service.name": service, "deployment.environment.name": deployed}
            first = self._spans + 1
            spans = []
            for model in MODELS:
                self._spans += 1
                self.tokens[tenant] += prompt + prompt // 10
                self.cost[tenant] += pricing.cost(model, prompt, prompt // 10, None).total or 0
                attributes = {
                    "netra.tenant_id": tenant,
                    "netra.session_id": f"{tenant}-{first}",
                    "netra.span.type": "GENERATION",
                    "netra.pii.detected": True,
                    "netra.violation.detected": True,
                    "gen_ai.system": "openai",
                    "gen_ai.request.model": model,
                    "gen_ai.response.model": model,
                    "gen_ai.usage.prompt_tokens": prompt,
                    "gen_ai.usage.completion_tokens": prompt // 10,
                }
                status = {"status": {"code": 2, "message": "refused"}} if model == MODELS[1] else {}
                start_ns = time.time_ns() - int(ago_s * S)
                spans.append(
                    otlp_span(first, self._spans, start_ns=start_ns, attributes=attributes, duration_ns=S, **status)
                )
            document = read_document(otlp_document(*spans, resource=resource))
            assert self._emulator.call(partial(self._emulator.emulator.store.ingest, document)) == []


class Choosy:
    """The rule of a destination that never accepts spans of ``poison``. If a request holds any of ``refused``, it also
    rejects one span without saying which.
    """

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.poison: set[str] = set()

    def __call__(self, received: Received) -> PartialSuccess | Reject | None:
        ids = set(span_ids(received))
        if ids & self.poison:
            return Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, "not that one")
        return PartialSuccess(1, "full") if ids & self.refused else None


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Run the story, and let the bridge end."""
    directory = tmp_path_factory.mktemp("prometheus")
    (port, nobody) = free_ports(2)
    rule = Choosy()
    rules = rules_without_waiting(directory / "rules.yml")
    with (
        running_emulator(EmulatorOptions(port=0, api_key=CANARY)) as emulator,
        JudgingDestination(rule) as choosy,
        running_prometheus(directory, scrape=[f"127.0.0.1:{port}"], rules=[rules]) as prometheus,
    ):
        netra = Netra(emulator)
        for tenant, prompt in ((OVER, 4_000_000), (NEAR, 1_000_000), (BELOW, 100_000)):
            netra.use(tenant, prompt, ago_s=2 * HOUR_S)
            netra.use(tenant, prompt)
        budgets = {OVER: netra.cost[OVER] / 4, NEAR: netra.cost[NEAR] / 0.9, BELOW: 1e6}
        arguments = ["run", "--since", "4h", "--poll", "500ms", "--settle", "0s", "--state", str(directory / "state")]
        taken = f"otlp-file:{directory}/taken.jsonl"
        for one in (taken, choosy.grpc_url, f"otlp+http://127.0.0.1:{nobody}"):
            arguments += ["--to", one]
        arguments += ["--verify-at", f"{taken}={taken}"]
        env = environment(
            emulator.endpoint,
            OTEL_EXPORTER_PROMETHEUS_PORT=str(port),
            NETRA_BRIDGE_USAGE_POLL="500ms",
            NETRA_BRIDGE_USAGE_ANNOUNCE="3s",
            NETRA_BRIDGE_USAGE_SESSIONS="100",
            NETRA_BRIDGE_USAGE_BUDGETS=",".join(f"{tenant}={dollars}" for tenant, dollars in budgets.items()),
        )
        with Child(*arguments, directory=directory, env=env) as service:
            settled = partial(wait, service, prometheus)
            settled("count(netra_usage_period_cost_USD > 0) == 3")
            settled("count(netra_bridge_spans_delivered_total > 0) >= 1")
            netra.set_faults("usage-factor=0.5")
            settled("count(netra_usage_corrections_cost_USD_total > 0) == 3")
            netra.set_faults()
            rule.refused.update(netra.upcoming())
            netra.use(BELOW, 100_000)
            settled("sum(netra_bridge_spans_refused_total) > 0")
            rule.poison.update(netra.upcoming()[:1])
            netra.use(BELOW, 100_000)
            settled("sum(netra_bridge_spans_dead_lettered_total) > 0")
            rule.refused.update(netra.upcoming())
            netra.use(BELOW, 100_000, ago_s=2 * HOUR_S)
            expected = " or ".join(
                f'netra_usage_period_tokens{{netra_tenant_id="{one}"}} == {tokens}'
                for one, tokens in netra.tokens.items()
            )
            settled(f"count({expected}) == 3")
            if not month_is_young():
                lacks = f'netra_bridge_unreplayed_tokens{{netra_tenant_id="{BELOW}",destination="%s"}} %s'
                settled(f"{lacks % (choosy.grpc_url, '> 0')} and on () {lacks % (taken, '== 0')}")
            settled("sum(increase(netra_usage_cost_USD_total[1m])) > 0")
            at_s = time.time()
            fired = active(prometheus)
            service.signal(signal.SIGTERM)
            assert service.wait().code == 0, service.err
        fired += wait_for_alert(prometheus, "NetraBridgeDown")
        yield Story(prometheus, at_s, fired, netra.tokens)


def wait(service: Child, prometheus: Prometheus, expr: str) -> None:
    """Wait until ``expr`` has a value."""
    deadline = time.monotonic() + 120
    while not prometheus.query(expr):
        assert service.running, service.err
        assert time.monotonic() < deadline, f"{expr} did not come true\n{service.err[-LOG_CHARACTERS:]}"
        time.sleep(0.2)


def active(prometheus: Prometheus) -> list[dict[str, Any]]:
    """Return the alerts that fire now."""
    return [alert for rule in prometheus.rules() for alert in rule["alerts"] if alert["state"] == "firing"]


def wait_for_alert(prometheus: Prometheus, name: str, seconds: float = 30) -> list[dict[str, Any]]:
    deadline = time.monotonic() + seconds
    while not (found := [alert for alert in active(prometheus) if alert["labels"]["alertname"] == name]):
        assert time.monotonic() < deadline, f"{name} does not fire"
        time.sleep(0.2)
    return found


def month_is_young() -> bool:
    """Return whether the month (UTC) began less than `YOUNG_H` hours ago, so that no hour of the tested traffic is complete."""
    now = datetime.now(UTC)
    return now.day == 1 and now.hour < YOUNG_H


@each_query
def test_each_query_of_the_dashboard_has_data(story: Story, query: PanelQuery) -> None:
    """Each query returns data, both with all variables at All, and with one tenant, model and environment chosen."""
    chosen = {"tenant": BELOW, "model": MODELS[0], "environment": SERVICES[0][1]}
    if "error_type" in query.expr:
        chosen["model"] = MODELS[1]
    for expr in (*query.filled(), *query.filled(**chosen)):
        if month_is_young() and "replayed" in expr:
            pytest.skip(f"the month began less than {YOUNG_H} hours ago")
        found = story.ask(expr)
        assert found, expr
        assert all(value == value for _, value in found), f"{expr}: {found}"


@pytest.mark.parametrize("variable", label_variables())
def test_each_variable_has_values(story: Story, variable: str) -> None:
    """The values to choose from at the top of the dashboard are those that were used."""
    metric, label = label_variables()[variable]
    values = {labels[label] for labels, _ in story.ask(f"count by ({label}) ({metric})")}
    assert (
        values
        == {"tenant": {OVER, NEAR, BELOW}, "model": set(MODELS), "environment": {"production", "staging"}}[variable]
    )


@each_alert
def test_each_alert_fires_where_it_should_and_only_there(story: Story, alert: Alert) -> None:
    """Each alert fires for the tenants it should and no others. One that must not fire still has figures to compare,
    and every text has its figures filled in.

    Nothing in the story is hours old, so alerts compare with the present here instead of the past.
    """
    if month_is_young() and "replayed" in alert.expr:
        pytest.skip(f"the month began less than {YOUNG_H} hours ago")
    assert [selector for selector in selectors(alert.expr) if not story.ask(selector)] == []
    assert story.ask(re.sub(r" offset \w+", "", alert.measured))
    fired = story.firing(alert.name)
    if alert.name not in MAY_FIRE:
        assert bool(fired) == (alert.name in FIRING), fired
    tenants = FIRING.get(alert.name)
    if tenants:
        assert {one["labels"]["netra_tenant_id"] for one in fired} == tenants
    for text in (text for one in fired for text in one["annotations"].values()):
        assert "<no value>" not in text
        assert "error" not in text
        assert "{{" not in text


def test_the_figures_are_netras_own(story: Story) -> None:
    """The month to date of each tenant is its usage; the counters, less what was taken back, are the usage since."""
    found = story.ask('sum by (netra_tenant_id) (netra_usage_period_tokens{netra_usage_period="current"})')
    assert {labels["netra_tenant_id"]: value for labels, value in found} == story.tokens
    net = story.ask("sum(netra_usage_tokens_total) - sum(netra_usage_corrections_tokens_total)")
    assert 0 < net[0][1] <= sum(story.tokens.values())


def test_no_rule_of_the_file_has_failed(story: Story) -> None:
    """Prometheus evaluated each rule without an error."""
    assert {rule["name"]: rule["health"] for rule in story.prometheus.rules()} == {one.name: "ok" for one in alerts()}


def test_promtool_takes_both_files() -> None:
    """promtool finds nothing doubtful in the configuration and its rules."""
    assert "SUCCESS" in promtool("check", "config", "--lint=all", "--lint-fatal", CONFIG)
    assert "SUCCESS" in promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
