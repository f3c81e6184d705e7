"""Read the dashboard and the alerts in ``examples/`` the way Grafana and Prometheus do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.cli import ROOT

DASHBOARD = ROOT / "examples" / "grafana" / "netra.json"
CONFIG = ROOT / "examples" / "prometheus" / "prometheus.yml"
RULES = ROOT / "examples" / "prometheus" / "netra-alerts.yml"
DIMENSIONS = ("service", "model", "environment")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring)\s*\([^)]*\)")
_SELECTOR = re.compile(r"\b(?:(?:netra|gen_ai|process)_\w+|up)\b(?:\{[^}]*\})?")
_COMPARISON = re.compile(r"^\s*(?:==|!=|>=|<=|>|<)\s", re.MULTILINE)
_LABEL_VALUES = re.compile(r"label_values\((\w+), (\w+)\)")


@dataclass(frozen=True, slots=True)
class PanelQuery:
    """A panel's query, including Grafana's variables."""

    panel: str
    ref: str
    expr: str

    def __str__(self) -> str:
        return f"{self.panel} {self.ref}".replace(" ", "-")

    def filled(self, **variables: str) -> Iterator[str]:
        """Yield the query as Grafana sends it, once per dimension if it uses one. Missing variables are set to All."""
        values = {"tenant": ".*", "model": ".*", "environment": ".*", **variables}
        expr = self.expr.replace("$__rate_interval", "1m")
        for name, value in values.items():
            expr = expr.replace(f"${name}", value)
        yield from (expr.replace("$dimension", one) for one in (DIMENSIONS if "$dimension" in expr else ("",)))


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert rule as written in the file."""

    name: str
    rule: dict[str, Any]

    @property
    def expr(self) -> str:
        return str(self.rule["expr"])

    @property
    def measured(self) -> str:
        """The left side of the comparison: the expression up to the line with its first comparison."""
        return _COMPARISON.split(self.expr, maxsplit=1)[0]


@cache
def dashboard() -> Any:
    """Return the dashboard's JSON."""
    return json.loads(DASHBOARD.read_text("utf-8"))


def panel_queries() -> list[PanelQuery]:
    """Return every query of every panel."""
    return [
        PanelQuery(panel["title"], target["refId"], target["expr"])
        for panel in dashboard()["panels"]
        for target in panel.get("targets", ())
    ]


def label_variables() -> dict[str, tuple[str, str]]:
    """Return metric and label of each variable that takes its values from a label, by the variable's name."""
    found = {
        one["name"]: _LABEL_VALUES.fullmatch(one.get("definition", "")) for one in dashboard()["templating"]["list"]
    }
    return {name: (match[1], match[2]) for name, match in found.items() if match}


def alerts() -> list[Alert]:
    """Return every alert rule."""
    document = yaml.safe_load(RULES.read_text("utf-8"))
    return [Alert(rule["alert"], rule) for group in document["groups"] for rule in group["rules"]]


def rules_without_waiting(path: Path) -> Path:
    """Write the rules to ``path`` without their ``for``, so that alerts fire at once."""
    document = yaml.safe_load(RULES.read_text("utf-8"))
    for group in document["groups"]:
        for rule in group["rules"]:
            rule.pop("for", None)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def selectors(expr: str) -> set[str]:
    """Return the metrics that an expression reads, with their matchers, without ranges and offsets."""
    return set(_SELECTOR.findall(_GROUPING.sub("", expr)))


def metrics(expr: str) -> set[str]:
    """Return the names of the metrics that an expression reads."""
    return {selector.partition("{")[0] for selector in selectors(expr)}
