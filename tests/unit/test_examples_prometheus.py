"""The Grafana dashboard and the Prometheus files of ``examples/`` are whole, and use only what the bridge shows."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
import typer.main
import yaml
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider

from netra_otel_bridge.cli.app import app
from netra_otel_bridge.config.settings import SETTINGS
from netra_otel_bridge.convert.genai_metrics import HISTOGRAMS
from netra_otel_bridge.service.metric_exporters import metric_readers
from netra_otel_bridge.service.own_metrics import INSTRUMENTS
from netra_otel_bridge.usage.instruments import USAGE_COUNTERS, USAGE_GAUGES
from tests.support.cli import ROOT
from tests.support.monitoring import (
    CONFIG,
    DIMENSIONS,
    RULES,
    Alert,
    PanelQuery,
    alerts,
    dashboard,
    label_variables,
    metrics,
    panel_queries,
)
from tests.support.prometheus import JOB

each_alert = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
each_query = pytest.mark.parametrize("query", panel_queries(), ids=str)
NOT_OURS = {"up", "process_resident_memory_bytes"}
"""Metrics of Prometheus itself, and of its client library."""
GRID_COLUMNS = 24


@pytest.fixture(scope="module")
def shown() -> set[str]:
    """Return the names of all samples that ``/metrics`` can show."""
    readers, registry = metric_readers({})
    assert registry is not None
    provider = MeterProvider(readers, shutdown_on_exit=False)
    meter = provider.get_meter("shown")
    for instrument in (*INSTRUMENTS, *USAGE_COUNTERS, *USAGE_GAUGES):
        make = meter.create_observable_counter if instrument.kind == "counter" else meter.create_observable_gauge
        make(instrument.name, [lambda _: [Observation(1)]], instrument.unit, instrument.description)
    for histogram in HISTOGRAMS:
        meter.create_histogram(histogram.name, histogram.unit, histogram.description).record(1)
    names = {sample.name for family in registry.collect() for sample in family.samples}
    provider.shutdown()
    return names


@each_query
def test_a_panel_asks_for_what_the_bridge_shows(query: PanelQuery, shown: set[str]) -> None:
    """A panel uses only names that exist: a misspelled one would leave it empty."""
    asked = metrics(query.expr)
    assert asked
    assert asked - NOT_OURS <= shown


@each_alert
def test_an_alert_asks_for_what_the_bridge_shows(alert: Alert, shown: set[str]) -> None:
    """An alert uses only names that exist: with a misspelled one it would never fire."""
    asked = metrics(alert.expr)
    assert asked
    assert asked - NOT_OURS <= shown


def test_variables_are_labels_of_what_the_bridge_shows(shown: set[str]) -> None:
    """Each variable is a label that exists: without values, there would be nothing to choose."""
    assert set(label_variables()) == {"tenant", "model", "environment"}
    assert {metric for metric, _ in label_variables().values()} <= shown


def test_each_variable_in_a_query_is_one_of_the_dashboard() -> None:
    """Queries use only variables of the dashboard: Grafana would leave another one as text."""
    known = {one["name"] for one in dashboard()["templating"]["list"]} | {"__rate_interval"}
    used = {name for query in panel_queries() for name in re.findall(r"\$\{?(\w+)", query.expr)}
    assert used <= known
    (dimension,) = (one for one in dashboard()["templating"]["list"] if one["name"] == "dimension")
    assert tuple(dimension["query"].split(",")) == tuple(one["value"] for one in dimension["options"]) == DIMENSIONS


def test_panels_are_explained_and_do_not_overlap() -> None:
    """Each panel has a title, a description and a place of its own; Prometheus is selected as the source."""
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        assert columns.stop <= GRID_COLUMNS
        cells = {(column, row) for column in columns for row in rows}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["title"]
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert all(one["datasource"]["uid"] == "${datasource}" for one in (panel, *panel["targets"]))
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
    assert re.fullmatch(r"[a-z-]{1,40}", dashboard()["uid"])


@each_alert
def test_an_alert_says_what_to_do(alert: Alert) -> None:
    """An alert has a severity, a summary with its subject, and a description; commands in it are the program's."""
    assert alert.rule["labels"]["severity"] in ("info", "warning", "critical")
    annotations = alert.rule["annotations"]
    assert set(annotations) == {"summary", "description"}
    assert "{{" in annotations["summary"] or alert.name == "NetraUsageDown"
    assert len(annotations["description"]) > len(annotations["summary"])
    assert alert.measured.strip() != alert.expr.strip(), "no comparison on a line of its own"
    for command in re.findall(r"`netra-otel-bridge ([^`]+)`", annotations["description"]):
        assert_known(command.split())


def assert_known(words: Iterable[str]) -> None:
    """Assert that a command and its options are the program's."""
    command = typer.main.get_command(app)
    for word in words:
        inner = getattr(command, "commands", {})
        if word in inner:
            command = inner[word]
        elif word.startswith("--"):
            assert any(word in parameter.opts for parameter in command.params), word
    assert not hasattr(command, "commands"), f"{command.name} alone is no command"


def test_the_panels_that_alerts_send_to_are_there() -> None:
    """Each title in quotes in an alert's description is that of a panel."""
    titles = {panel["title"] for panel in dashboard()["panels"]}
    named = {
        title for alert in alerts() for title in re.findall(r'"([^"]+)"', alert.rule["annotations"]["description"])
    }
    assert named
    assert named <= titles


def test_prometheus_scrapes_where_the_bridge_serves() -> None:
    """The target is the bridge's default address, the job is that of alerts and panels, and the rules are the file beside."""
    config = yaml.safe_load(CONFIG.read_text("utf-8"))
    (job,) = config["scrape_configs"]
    defaults = {setting.name: setting.default for setting in SETTINGS}
    assert job["static_configs"] == [{"targets": [f"{defaults['http_host']}:{defaults['http_port']}"]}]
    assert job["job_name"] == JOB
    for expr in (*(one.expr for one in alerts()), *(one.expr for one in panel_queries())):
        assert set(re.findall(r'job="([^"]*)"', expr)) <= {JOB}
    assert config["rule_files"] == [RULES.name]


def test_the_page_lists_the_alerts_and_the_rows() -> None:
    """docs/dashboards.md names each alert and each row of the dashboard, and no other alert."""
    page = (ROOT / "docs" / "dashboards.md").read_text("utf-8")
    assert sorted(re.findall(r"^\| `(Netra\w+)` \|", page, re.MULTILINE)) == sorted(one.name for one in alerts())
    rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    assert [row for row in rows if f"| {row} |" not in page] == []
