"""``replay --verify-at`` and ``--repair``: read back what a replay sent, before its checkpoint is deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netra_otel_bridge.bridge.repair import Broken, send_again
from netra_otel_bridge.bridge.verify import OnStoreVerdict, Verification, check_stores, verify_stores
from netra_otel_bridge.cli import verify as shown
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.cli.output import err, out
from netra_otel_bridge.cli.reports import report_json, verify_json
from netra_otel_bridge.cli.signals import run
from netra_otel_bridge.core.errors import BridgeError
from netra_otel_bridge.core.model.query import TraceQuery, Window
from netra_otel_bridge.core.model.readback import Kind, VerifyReport
from netra_otel_bridge.core.model.report import LaneReport, ReplayReport
from netra_otel_bridge.state import StateStore

if TYPE_CHECKING:
    from netra_otel_bridge.bridge.bridge import Bridge


def check(bridge: Bridge, stores: Mapping[str, str]) -> None:
    """Raise the error of a store that cannot be read back as it is written, before anything is read or sent."""
    if stores:
        run(check_stores(bridge, stores.items()))


def verify(
    bridge: Bridge,
    stores: Mapping[str, str],
    window: Window,
    query: TraceQuery,
    state: StateStore,
    report: ReplayReport,
    *,
    repair: bool,
    show: bool,
    as_json: bool,
) -> int:
    """Verify what was sent, print the result below the report of the replay, and return the worse exit code of both.

    With ``repair``, what is missing or cut is sent again, and everything is verified once more. The state of a replay
    without ``--state`` has nothing but this range, so all of it is verified. Raises the error of a store, or of sending
    again, after the reports are printed.
    """
    started = bridge.clock.monotonic()
    what = Verification(window=window, queries=(query,), whole_lane=bridge.settings.state is None)
    broken = {to: Broken() for to in stores}

    def note(to: str, trace_id: str, span_id: int, kind: Kind) -> None:
        broken[to].add(trace_id, span_id, kind)

    def read_back(on_verdict: OnStoreVerdict | None) -> tuple[VerifyReport, BridgeError | None]:
        with shown.progress(show=show) as advance:
            work = verify_stores(bridge, list(stores.items()), what, state, on_progress=advance, on_verdict=on_verdict)
            return shown.outcome(work)

    verified, error = read_back(note if repair else None)
    repairs: list[Repair] = []
    if repair and error is None and any(one.count for one in broken.values()):
        if not as_json:
            shown.write_report(verified)
        for to, spans in broken.items():
            if spans.count and error is None:
                repairs.append(_repair(bridge, to, window, query, state, spans, as_json=as_json))
                error = repairs[-1].lane.error
        if error is None:
            verified, error = read_back(None)
    exit_code = worse(report.exit_code, *(one.lane.exit_code for one in repairs), verified.exit_code)
    if as_json:
        seconds = round(report.seconds + bridge.clock.monotonic() - started, 3)
        document = {
            **report_json(report),
            "seconds": seconds,
            "verify": verify_json(verified),
            "exit_code": exit_code,
        }
        if repair:
            document["repaired"] = [one.document() for one in repairs]
        write_json(document)
    else:
        shown.write_report(verified)
    if error is not None:
        raise error
    return exit_code


@dataclass(frozen=True, slots=True)
class Repair:
    """A destination of which ``spans`` were missing or cut, and what sending them again did."""

    name: str
    spans: int
    lane: LaneReport

    def document(self) -> dict[str, Any]:
        """Return the element of ``repaired`` in the JSON document."""
        return {"name": self.name, "spans": self.spans, "sent_again": self.lane.delivered, "exit": self.lane.exit_code}


def _repair(
    bridge: Bridge,
    to: str,
    window: Window,
    query: TraceQuery,
    state: StateStore,
    broken: Broken,
    *,
    as_json: bool,
) -> Repair:
    lane = run(send_again(bridge, to, window, query, state, broken))
    if lane.error is not None:
        lane.error.report = ReplayReport(window, (lane,), 0, 0, 0.0, {})
    for problem in lane.problems:
        err.print(f"{to}: {problem}", soft_wrap=True, markup=False)
    if not as_json:
        out.print(
            f"{to}: {broken.count:,} spans were missing or cut; {lane.delivered:,} were sent again",
            soft_wrap=True,
            markup=False,
        )
    return Repair(to, broken.count, lane)


def worse(*exit_codes: int) -> int:
    """Return the first exit code that is neither 0 nor 3, else the largest."""
    return next((code for code in exit_codes if code not in (0, 3)), max(exit_codes))
