"""Write usage counters as OpenMetrics text with times, for ``promtool tsdb create-blocks-from openmetrics``.

Names equal those on the service's ``/metrics`` page, so that past and scraped samples belong to the same metrics. The
format requires the samples of one metric to be contiguous and those of one label set to be in order of time; the caller
writes lines in that order. Source: OpenMetrics 1.0, "Text format".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from netra_otel_bridge.convert.semconv import TENANT_ID
from netra_otel_bridge.usage.counters import UsageCounter

END = "# EOF\n"
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_]")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def family(counter: UsageCounter) -> str:
    """Return the counter's name in Prometheus, without ``_total``. A unit that counts things is not part of it."""
    name = _NOT_IN_NAMES.sub("_", counter.name)
    return name if counter.unit.startswith("{") else f"{name}_{counter.unit}"


def is_label(name: str) -> bool:
    """Return whether ``name`` is a valid label name; Prometheus reserves names that begin with ``__``."""
    return _LABEL.fullmatch(name) is not None and not name.startswith("__")


def tenant_label() -> str:
    """Return the name of the label that holds the tenant."""
    return _NOT_IN_NAMES.sub("_", TENANT_ID)


def label_set(labels: Mapping[str, str]) -> str:
    """Return ``{name="value",...}`` with the values escaped, or "" for no labels. Names MUST pass `is_label`."""
    pairs = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def metadata(counter: UsageCounter) -> str:
    """Return the lines that precede a metric's samples. The format allows a unit only if the name ends with it."""
    name = family(counter)
    unit = f"# UNIT {name} {counter.unit}\n" if name.endswith(f"_{counter.unit}") else ""
    return f"# HELP {name} {counter.description.translate(_ESCAPES)}\n# TYPE {name} counter\n{unit}"


def sample(counter: UsageCounter, labels: str, value: int | float, time_ns: int) -> str:
    """Return one line.

    ``labels`` come from `label_set`. The time is truncated to milliseconds, which is Prometheus's precision.
    """
    seconds, rest_ms = divmod(time_ns // 1_000_000, 1000)
    time = f"{seconds}.{rest_ms:03d}" if rest_ms else str(seconds)
    return f"{family(counter)}_total{labels} {value!r} {time}\n"
