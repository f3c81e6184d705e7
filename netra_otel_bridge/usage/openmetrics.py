"""Usage counters as OpenMetrics text with times, as ``promtool tsdb create-blocks-from openmetrics`` reads it.

Names are those of the service's Prometheus page, so that the past and what is scraped are the same metrics. Samples of
one metric stand together, those of one label set in the order of time; whoever writes lines keeps that order. Source:
OpenMetrics 1.0, "Text format".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter

from netra_otel_bridge.convert.semconv import TENANT_ID
from netra_otel_bridge.usage import instruments as metrics
from netra_otel_bridge.usage.totals import UsageTotals

END = "# EOF\n"
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class UsageCounter:
    """One counter of usage: its OpenTelemetry name and unit (UCUM; ``{...}`` counts things), and what it says to people."""

    name: str
    unit: str
    description: str
    read: Callable[[UsageTotals], int | float]

    @property
    def family(self) -> str:
        """The name in Prometheus, without ``_total``: a unit that counts things is not part of it."""
        name = _NO_NAME.sub("_", self.name)
        return name if self.unit.startswith("{") else f"{name}_{self.unit}"


def _counter(measure: str) -> UsageCounter:
    shown = next(one for one in metrics.USAGE_COUNTERS if one.name == f"netra.usage.{measure}")
    return UsageCounter(shown.name, shown.unit, shown.description, attrgetter(measure))


USAGE_COUNTERS = tuple(_counter(measure) for measure in ("tokens", "requests", "cost"))
"""The counters that the service shows, with how they are read off figures."""


@dataclass(frozen=True, slots=True)
class UsageReading:
    """What a tenant had used at ``time_ns``, counted from the start of the range."""

    tenant_id: str
    time_ns: int
    total: UsageTotals


def is_label(name: str) -> bool:
    """Whether a text can be the name of a label; names that begin with ``__`` are Prometheus' own."""
    return _LABEL.fullmatch(name) is not None and not name.startswith("__")


def tenant_label() -> str:
    """The name of the label that holds the tenant."""
    return _NO_NAME.sub("_", TENANT_ID)


def label_set(labels: Mapping[str, str]) -> str:
    """``{name="value",...}`` with the values escaped; "" for none. The names MUST be labels (`is_label`)."""
    pairs = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def metadata(counter: UsageCounter) -> str:
    """The lines before a metric's samples. Only a unit that the name ends with may be given."""
    family = counter.family
    unit = f"# UNIT {family} {counter.unit}\n" if family.endswith(f"_{counter.unit}") else ""
    return f"# HELP {family} {counter.description.translate(_ESCAPES)}\n# TYPE {family} counter\n{unit}"


def sample(counter: UsageCounter, labels: str, value: int | float, time_ns: int) -> str:
    """One line: ``labels`` as `label_set` gives them, the time in seconds, to the millisecond that Prometheus keeps."""
    seconds, rest_ms = divmod(time_ns // 1_000_000, 1000)
    time = f"{seconds}.{rest_ms:03d}" if rest_ms else str(seconds)
    return f"{counter.family}_total{labels} {value!r} {time}\n"
