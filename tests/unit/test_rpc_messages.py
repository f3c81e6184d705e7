"""Conversion between protobuf messages and the bridge's values: every field, and invalid requests."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.core import time_text
from netra_otel_bridge.core.errors import DestinationUnavailable, NetraUnauthorized
from netra_otel_bridge.core.model.health import ArrivalHealth
from netra_otel_bridge.core.model.query import TraceFilter, TraceQuery, Window
from netra_otel_bridge.core.model.readback import BESIDE, SUMMED, Finding, StoreReport, VerifyReport
from netra_otel_bridge.core.model.report import LaneReport
from netra_otel_bridge.readback.verify import VerifyProgress
from netra_otel_bridge.service.rpc import messages
from netra_otel_bridge.service.rpc.errors import StatusError
from netra_otel_bridge.v1 import bridge_pb2 as pb
from tests.support.health import NOW_NS, lane_health, service_health
from tests.support.rpc import stamp

MS = 10**6
LAST_NS = 253_402_300_799_999_999_999
"""The last time that a Timestamp may hold, 9999-12-31."""


def all_set(message: Any) -> set[str]:
    return {field.name for field, _ in message.ListFields()}


def test_every_field_of_a_status_is_carried() -> None:
    """Every field has its own value, with times to the nanosecond."""
    arrival = ArrivalHealth(verified=40, missing=3, changed=2, failures=1)
    lane = lane_health(stopped=True, problem="it is down", problem_since_ns=NOW_NS - 5, arrival=arrival)
    status = messages.status(service_health(lane), [lane_health(destination="grpc:mine")], "1.2.3")
    assert all_set(status) == set(pb.GetStatusResponse.DESCRIPTOR.fields_by_name) - {"ready"}
    (sent,) = status.lanes
    assert all_set(sent) == set(pb.LaneStatus.DESCRIPTOR.fields_by_name)
    assert {
        "destination": sent.name,
        "problem_since_ns": sent.problem_since_time.ToNanoseconds(),
        "watermark_ns": sent.watermark_time.ToNanoseconds(),
        "checkpoint_ns": sent.checkpoint_time.ToNanoseconds(),
        "arrival": ArrivalHealth(**{field.name: value for field, value in sent.arrival.ListFields()}),
        **{
            name: getattr(sent, name)
            for name in [
                "stopped",
                "problem",
                "passes",
                "read",
                "delivered",
                "refused",
                "dead_lettered",
                "size_bytes",
                "retries",
                "held_back",
            ]
        },
    } == {field.name: getattr(lane, field.name) for field in fields(lane)}
    assert [one.name for one in status.subscriptions] == ["grpc:mine"]
    assert dict(status.api_calls) == {200: 7, 0: 1}
    assert (status.version, status.now.ToNanoseconds(), status.api_retries) == ("1.2.3", NOW_NS, 1)
    assert status.usage.polled_time.ToNanoseconds() == NOW_NS - 12 * 10**9


def test_times_that_have_not_come_are_absent() -> None:
    """Absent values are absent in the message."""
    status = messages.status(service_health(lane_health(watermark_ns=0, checkpoint_ns=0, arrival=None)), (), "1")
    (lane,) = status.lanes
    assert not lane.HasField("watermark_time")
    assert not lane.HasField("checkpoint_time")
    assert not lane.HasField("problem_since_time")
    assert not lane.HasField("arrival")
    assert status.ready == service_health().ready


def test_every_field_of_the_progress_of_a_replay_is_carried() -> None:
    """Every field has its own value; the error has its reason and hint."""
    error = DestinationUnavailable("it is down", hint="start it")
    names = [field.name for field in fields(LaneReport) if field.name not in ("name", "error", "problems")]
    report = LaneReport("jaeger", error=error, problems=["a line"], **{name: 10 + n for n, name in enumerate(names)})
    sent = messages.replay_progress(report)
    assert all_set(sent) == set(pb.ReplayProgress.DESCRIPTOR.fields_by_name)
    same = [name for name in pb.ReplayProgress.DESCRIPTOR.fields_by_name if hasattr(report, name) and name != "error"]
    assert len(same) == len(pb.ReplayProgress.DESCRIPTOR.fields_by_name) - 1
    assert {name: getattr(sent, name) for name in same} == {name: getattr(report, name) for name in same}
    assert sent.size_bytes == report.size_bytes
    assert (sent.error.reason, sent.error.message, sent.error.hint) == (
        "DESTINATION_UNAVAILABLE",
        "it is down",
        "start it",
    )
    assert messages.problem(NetraUnauthorized("no")) == pb.Problem(reason="NETRA_UNAUTHORIZED", message="no")


def test_every_field_of_a_verification_is_carried() -> None:
    """Each count has its own value; each kind of a finding has its own number, and none is for intact spans."""
    counts = ["traces", "spans", *SUMMED, *BESIDE, "looked_for", "read_back_calls"]
    store = StoreReport("jaeger", "at", notes=["a note \ud800"], **{name: 10 + n for n, name in enumerate(counts)})
    sent = messages.summary(VerifyReport(Window(MS, 2 * MS), (store,), 5, 1.0), store)
    assert all_set(sent) == set(pb.VerifySummary.DESCRIPTOR.fields_by_name)
    assert {name: getattr(sent, name) for name in counts} == {name: getattr(store, name) for name in counts}
    assert (sent.destination, sent.at, list(sent.notes), sent.netra_calls) == ("jaeger", "at", ["a note ?"], 5)
    assert (sent.range, sent.exit_code) == (messages.range_message(Window(MS, 2 * MS)), 3)
    kinds = {kind: messages.finding(Finding(kind, 1, "")).kind for kind in (*SUMMED, *BESIDE) if kind != "intact"}
    named = {f"FINDING_KIND_{kind.upper()}": number for kind, number in kinds.items()}
    assert named == {name: number for name, number in pb.FindingKind.items() if number}
    finding = messages.finding(Finding("cut", 7, "half \ud800", "do \ud800", (("ab", "cd"), ("ef", ""))))
    assert (finding.count, finding.what, finding.hint) == (7, "half ?", "do ?")
    assert [(one.trace_id, one.span_id) for one in finding.samples] == [("ab", "cd"), ("ef", "")]
    assert messages.verify_progress(VerifyProgress("jaeger", 1, 2, 3, 4, 5)) == pb.VerifyProgress(
        traces=1, spans=2, intact=3, waiting=4, looked_for=5
    )


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        (None, Timestamp(seconds=5)),
        (Timestamp(seconds=-1), None),
        (Timestamp(seconds=5, nanos=-1), None),
        (Timestamp(seconds=5, nanos=10**9), None),
        (Timestamp(seconds=253_402_300_800), None),
        (Timestamp(seconds=2**63 - 1), None),
        (Timestamp(seconds=5), Timestamp(seconds=5)),
        (Timestamp(seconds=5), Timestamp(seconds=4)),
        (Timestamp(seconds=5), Timestamp(seconds=-(2**63))),
        (Timestamp(seconds=NOW_NS // 10**9 + 1), None),
    ],
)
def test_ranges_that_make_no_sense(start: Timestamp | None, end: Timestamp | None) -> None:
    """An invalid range is rejected with the name of the field."""
    with pytest.raises(StatusError, match="range") as raised:
        messages.time_range(pb.TimeRange(start_time=start, end_time=end), NOW_NS)
    assert (raised.value.code.name, raised.value.reason) == ("INVALID_ARGUMENT", "ARGUMENT_INVALID")


@given(st.integers(0, LAST_NS), st.integers(0, LAST_NS))
def test_a_range_is_rounded_outwards_to_milliseconds(start_ns: int, end_ns: int) -> None:
    """The window covers the range, with less than a millisecond more on each side; times after 2262 become the last one."""
    asked = pb.TimeRange(start_time=stamp(start_ns), end_time=stamp(end_ns))
    start_ns, end_ns = min(start_ns, time_text.LAST_NS), min(end_ns, time_text.LAST_NS)
    if start_ns // MS * MS >= -(-end_ns // MS) * MS:
        with pytest.raises(StatusError):
            messages.time_range(asked, NOW_NS)
        return
    window = messages.time_range(asked, NOW_NS)
    assert window.start_ns % MS == window.end_ns % MS == 0
    assert 0 <= start_ns - window.start_ns < MS
    assert 0 <= window.end_ns - end_ns < MS


def test_a_range_without_an_end_lasts_until_now() -> None:
    """The range ends at the present time, and the message of the window has that end."""
    window = messages.time_range(pb.TimeRange(start_time=Timestamp(seconds=1, nanos=1)), NOW_NS + 1)
    assert window == Window(10**9, NOW_NS + MS)
    told = messages.range_message(window)
    assert (told.start_time.ToNanoseconds(), told.end_time.ToNanoseconds()) == (10**9, NOW_NS + MS)


def test_a_query_is_carried_whole() -> None:
    """Absent fields stay absent; a filter gets the operator and type of its value, unless it has its own."""
    assert messages.trace_query(pb.TraceQuery()) == TraceQuery()
    asked = pb.TraceQuery(
        tenant_id="t",
        session_id="s",
        user_id="u",
        trace_ids=["a", "b"],
        filters=[
            pb.TraceFilter(field="name", text="x"),
            pb.TraceFilter(field="total_cost", number=0.5, operator="greater_than"),
            pb.TraceFilter(field="has_error", flag=False),
            pb.TraceFilter(field="models", list=pb.TextList(values=["m"])),
            pb.TraceFilter(field="metadata", text="", key="k", type="object"),
        ],
    )
    assert messages.trace_query(asked) == TraceQuery(
        tenant_id="t",
        session_id="s",
        user_id="u",
        trace_ids=("a", "b"),
        filters=(
            TraceFilter("name", "x", "equals", "string", None),
            TraceFilter("total_cost", 0.5, "greater_than", "number", None),
            TraceFilter("has_error", False, "equals", "boolean", None),
            TraceFilter("models", ["m"], "any_of", "arrayOptions", None),
            TraceFilter("metadata", "", "equals", "object", "k"),
        ),
    )


@pytest.mark.parametrize("wrong", [pb.TraceFilter(), pb.TraceFilter(field="name"), pb.TraceFilter(text="x")])
def test_a_filter_without_a_field_or_a_value(wrong: pb.TraceFilter) -> None:
    """An incomplete filter is rejected: ignored, it would select all traces."""
    with pytest.raises(StatusError, match="filter"):
        messages.trace_query(pb.TraceQuery(filters=[wrong]))


def test_profiles_and_sizes() -> None:
    """Each profile has a name; unknown numbers and sizes below the minimum are rejected."""
    named = {pb.Profile.Name(value): messages.profile(value) for value in pb.Profile.values()}
    assert named == {
        "PROFILE_UNSPECIFIED": None,
        "PROFILE_RAW": "raw",
        "PROFILE_GENAI": "genai",
        "PROFILE_OPENINFERENCE": "openinference",
        "PROFILE_BOTH": "both",
    }
    with pytest.raises(StatusError, match="no profile 77"):
        messages.profile(77)
    assert (messages.message_bytes(0), messages.message_bytes(65536)) == (4 * 2**20, 65536)
    with pytest.raises(StatusError, match="at least 65536"):
        messages.message_bytes(65535)


def test_halves_of_characters_become_question_marks() -> None:
    """Lone surrogates, which Netra's JSON may contain, are replaced: a protobuf string cannot hold them."""
    half = "trace \ud800"
    assert messages.replay_progress(LaneReport("a", problems=[half])).problems == ["trace ?"]
    assert messages.status(service_health(lane_health(problem=half)), (), "1").lanes[0].problem == "trace ?"
    assert messages.problem(NetraUnauthorized(half, hint=half)) == pb.Problem(
        reason="NETRA_UNAUTHORIZED", message="trace ?", hint="trace ?"
    )
