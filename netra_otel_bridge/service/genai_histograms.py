"""GenAI histograms of live traffic: record each call to a model once, just after it ended.

Several lanes read the same traces, and read a trace again when it grows. To record each span once, its id is kept for
as long as the span counts as live. Spans that ended longer ago are never recorded: a histogram would stamp them "now".
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from netra_otel_bridge.convert import Privacy, instant_ns, semconv
from netra_otel_bridge.convert.genai_metrics import (
    ENVIRONMENT,
    HISTOGRAMS,
    TOKENS_TYPE,
    Measurement,
    may_be_measured,
    measurements,
)
from netra_otel_bridge.convert.semconv import TENANT_ID
from netra_otel_bridge.core.clock import MINUTE_NS
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary
from netra_otel_bridge.usage.totals import OTHER

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

LIVE_NS = 15 * MINUTE_NS
MAX_IDS = 1_000_000
LABEL_SETS = 2000
"""Maximum number of attribute sets of one instrument. The SDK (1.45) drops all attributes of further sets."""
FOLDED_SETS = 100
"""Part of `LABEL_SETS` that is reserved for sets whose model and tenant are `OTHER`."""
_FOLDED = frozenset({semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL, TENANT_ID})
_LAST = dict.fromkeys((semconv.OPERATION_NAME, semconv.PROVIDER_NAME, *sorted(_FOLDED), ENVIRONMENT), OTHER)
_TYPES_OF_TOKENS = 2
KEEP_ALL = Privacy()
_log = logging.getLogger(__name__)


class LiveHistograms:
    """Records the `measurements` of live spans in histograms of ``meter``.

    ``privacy`` applies to the labels as to attributes of spans. ``now_ns`` returns the time by Netra's clock; ``warn`` is called once if there are too many label sets. For use in
    one thread; the SDK collects on its own.
    """

    def __init__(
        self,
        meter: Meter,
        now_ns: Callable[[], int],
        *,
        privacy: Privacy = KEEP_ALL,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        self._now_ns = now_ns
        self._privacy = privacy
        self._drops: Counter[str] = Counter()
        self._warn = warn
        self._seen = SeenIds(MAX_IDS)
        self._budgets = {histogram.name: LabelBudget() for histogram in HISTOGRAMS}
        self._histograms = {
            histogram.name: meter.create_histogram(
                histogram.name,
                histogram.unit,
                histogram.description,
                explicit_bucket_boundaries_advisory=histogram.boundaries,
            )
            for histogram in HISTOGRAMS
        }
        self._is_over = False

    @property
    def label_sets(self) -> dict[str, int]:
        """Return the number of attribute sets of each instrument."""
        return {name: len(budget) for name, budget in self._budgets.items()}

    def read(self, trace: TraceSummary, spans: Sequence[TraceSpan]) -> None:
        """Record the spans that ended within `LIVE_NS` and were not recorded before.

        Never raises, whatever the spans contain. Clocks differ, so a span that ends up to `LIVE_NS` ahead is live too.
        """
        now_ns = self._now_ns()
        self._seen.forget(now_ns - LIVE_NS)
        for span in spans:
            if not may_be_measured(span):
                continue
            end_ns = instant_ns(span.end_time_ms)
            if end_ns is None or abs(now_ns - end_ns) >= LIVE_NS:
                continue
            if self._seen.add(hash((span.trace_id, span.id)), end_ns):
                has_pii = bool(span.has_pii)
                for measurement in measurements(trace, span):
                    if not self._privacy.keeps_all(has_pii):
                        labels = self._privacy.apply(measurement.attributes, has_pii=has_pii, counts=self._drops)
                        measurement = replace(measurement, attributes=labels)
                    self._record(measurement)

    def _record(self, measurement: Measurement) -> None:
        name = measurement.instrument
        attributes = self._budgets[name].fit(measurement.attributes)
        self._histograms[name].record(measurement.value, attributes)
        if attributes is not measurement.attributes and not self._is_over:
            self._is_over = True
            self._warn(
                f"live metrics: {name} has reached its {LABEL_SETS} label sets; further models and tenants are shown as "
                f"{OTHER!r} until a restart: follow fewer tenants (--tenant), or look for a model name that varies"
            )


class SeenIds:
    """Hashes of the ids of recorded spans, at most ``cap`` of them; `forget` drops them by the end of their span.

    At the cap, the span that ended first is evicted: it is the least likely to be read again. A million hashes take
    some 140 MB. The chance that two of a million spans share a 64-bit hash is 1 in 3 * 10^7.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._minutes: dict[int, int] = {}
        self._ids: dict[int, set[int]] = {}
        self._forgotten = 0

    def __len__(self) -> int:
        return len(self._minutes)

    def add(self, seen: int, end_ns: int) -> bool:
        """Add a hash, or move it to a later end; return whether it is new."""
        minute = end_ns // MINUTE_NS
        before = self._minutes.get(seen)
        if before is not None:
            if minute > before:
                self._ids[before].remove(seen)
                self._put(seen, minute)
            return False
        if len(self._minutes) >= self._cap:
            self._evict_one()
        self._put(seen, minute)
        return True

    def forget(self, before_ns: int) -> None:
        """Forget the spans that ended in minutes before that of ``before_ns``."""
        minute = before_ns // MINUTE_NS
        if minute == self._forgotten:
            return
        self._forgotten = minute
        for past in [known for known in self._ids if known < minute]:
            for seen in self._ids.pop(past):
                del self._minutes[seen]

    def _put(self, seen: int, minute: int) -> None:
        self._minutes[seen] = minute
        self._ids.setdefault(minute, set()).add(seen)

    def _evict_one(self) -> None:
        first = min(minute for minute, ids in self._ids.items() if ids)
        del self._minutes[self._ids[first].pop()]


class LabelBudget:
    """The attribute sets of one instrument, at most `LABEL_SETS`.

    Attributes are compared in the order given, so a caller always uses the same order.
    """

    def __init__(self) -> None:
        self._sets: set[tuple[tuple[str, str], ...]] = set()

    def __len__(self) -> int:
        return len(self._sets)

    def fit(self, attributes: dict[str, str]) -> dict[str, str]:
        """Return ``attributes`` while there is room, then with model and tenant `OTHER`, finally all `OTHER`."""
        if self._admits(attributes, LABEL_SETS - FOLDED_SETS):
            return attributes
        folded = {name: OTHER if name in _FOLDED else value for name, value in attributes.items()}
        if self._admits(folded, LABEL_SETS - _TYPES_OF_TOKENS):
            return folded
        kind = attributes.get(TOKENS_TYPE)
        last = _LAST if kind is None else {**_LAST, TOKENS_TYPE: kind}
        self._admits(last, LABEL_SETS)
        return last

    def _admits(self, attributes: dict[str, str], room: int) -> bool:
        key = tuple(attributes.items())
        if key in self._sets:
            return True
        if len(self._sets) >= room:
            return False
        self._sets.add(key)
        return True
