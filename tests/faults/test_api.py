"""The rows of "The API" in the table of faults: run the command, check its exit code and the oracle."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge.emulator.fault_table import FAULTS
from netra_otel_bridge.emulator.faults import Answer, Call, Fault
from tests.support.cli import Result
from tests.support.fake_destination import FakeDestination
from tests.support.oracle import Oracle, Sent, happened, stored_by, written_to
from tests.support.proxy import CLEAR, Link, Proxy
from tests.support.rig import OnPage, Rig, running_rig
from tests.support.waiting import SOON_S, afterwards

pytestmark = pytest.mark.faults

MIB = 1 << 20


def assert_whole(rig: Rig, result: Result, *, retried: bool = True) -> None:
    """Assert that everything arrived once, the report says so, and the fault happened."""
    assert result.code == 0, result.err
    rig.oracle.assert_kept(written_to(rig.file))
    (lane,) = result.json["destinations"]
    assert lane["delivered"] == lane["spans"] == len(rig.oracle)
    if retried:
        happened("a retry", result.json["retries"])


def assert_held(rig: Rig, result: Result, code: int, *words: str, batch: int = 0) -> None:
    """Assert that it ended with ``code`` and one line that says why; what was delivered is right, but not everything.

    The file may hold one batch of ``batch`` spans that was in flight at the end, and so is not in the report.
    """
    assert result.code == code, result.err
    for word in words:
        assert word in result.said
    verdict = rig.oracle.verdict(written_to(rig.file))
    happened("a span that is missing", verdict.missing)
    assert verdict.sound, verdict
    (lane,) = result.json["destinations"]
    assert 0 <= len(written_to(rig.file)) - lane["delivered"] <= batch, "beyond the report: what was in flight"
    assert lane["exit"] == code


@pytest.mark.parametrize(
    ("header", "at_least_s"),
    [("1", 1), ("0", 0), ("-5", 0), ("soon", 0), (None, 0), ("a date", 1)],
)
def test_429_with_retry_after_in_seconds_as_a_date_0_negative_junk_absent(
    rig: Rig, header: str | None, at_least_s: float
) -> None:
    """The client waits at least as long as asked, then sends the same request again; nothing is lost or repeated."""
    faults = ["status-429=1"]
    if header == "a date":
        header = format_datetime(datetime.now(UTC) + timedelta(seconds=2.2), usegmt=True)
    if header is not None:
        faults.append(f"retry-after={header}")
    rig.netra.set_faults(*faults)
    result = rig.replay(NETRA_BRIDGE_ATTEMPTS="6")
    assert_whole(rig, result)
    happened("429", rig.statuses(429) == 1)
    assert at_least_s <= result.json["seconds"] < at_least_s + SOON_S


def test_429_with_an_enormous_retry_after_waits_at_most_a_cap_that_is_logged_and_a_stop_wakes_it(rig: Rig) -> None:
    """If a day is asked for, the log says how long it really waits, and SIGTERM ends that wait."""
    rig.netra.set_faults("status-429", "retry-after=86400")
    with rig.child(NETRA_BRIDGE_ATTEMPTS="6") as child:
        child.until(lambda: "asks to wait 86400 s; waiting 30 s" in child.err)
        began = time.monotonic()
        child.signal(signal.SIGTERM)
        ended = child.wait()
    assert time.monotonic() - began < 15, "half of the wait that the log tells"
    assert ended.code == 75
    assert len(written_to(rig.file)) == 0


def test_429_to_the_last_attempt_is_an_error(rig: Rig) -> None:
    """A 429 that never ends is not read as the end of the data."""
    rig.netra.set_faults("status-429")
    assert_held(rig, rig.replay(), 75, "HTTP 429")


BURSTS = ["status-500=2", "status-502=1", "status-503=1", "status-504=1", "status-408=1", "reset=2", "hang=1",
          "cut-body=1"]  # fmt: skip


@pytest.mark.parametrize("fault", BURSTS)
def test_500_502_503_504_bursts_reset_time_out(rig: Rig, fault: str) -> None:
    """After a burst of errors, everything is delivered."""
    rig.netra.set_faults(fault)
    assert_whole(rig, rig.replay(NETRA_BRIDGE_ATTEMPTS="8", NETRA_USAGE_TIMEOUT="0.5"))


@pytest.mark.parametrize("fault", [burst.partition("=")[0] for burst in BURSTS])
def test_500_502_503_504_reset_time_out_without_end_are_never_read_as_the_end_of_the_data(rig: Rig, fault: str) -> None:
    """The number of attempts is bounded, then the exit code is 69."""
    rig.netra.set_faults(fault)
    before = rig.calls()
    assert_held(rig, rig.replay(NETRA_USAGE_TIMEOUT="0.3"), 69, "after 2 attempts")
    assert rig.calls() - before <= 2 * 4


@pytest.mark.parametrize("after", [5, 40])
def test_errors_in_the_middle_lose_nothing_that_was_delivered(rig: Rig, after: int) -> None:
    """If every call after the first few fails, what was delivered is right, and the command says that it is not all."""

    class FailsLater(Fault):
        def __init__(self) -> None:
            self.calls = 0

        def instead(self, call: Call, /) -> Answer | None:
            self.calls += 1
            return None if self.calls <= after else Answer(500, b"{}")

    rig.feed(40, 2)
    rig.spoil(FailsLater())
    result = rig.replay(None, "--concurrency", "2", NETRA_BRIDGE_BATCH_SPANS="3")
    assert_held(rig, result, 69, batch=3)


WEATHER = {
    "reset in the body": Link(limit_bytes=700),
    "end in the body": Link(limit_bytes=700, end="half-close"),
    "silence in the body": Link(limit_bytes=700, end="stall"),
    "silence in the head": Link(limit_bytes=20, end="stall"),
    "a reply that never comes": Link(drop=True),
}


@pytest.mark.parametrize("weather", WEATHER)
def test_reset_or_time_out_in_head_or_body(rig: Rig, weather: str) -> None:
    """Connections may end anywhere on the wire; once they hold again, everything arrives once."""
    with Proxy(rig.netra.emulator._port) as proxy:
        proxy.down = WEATHER[weather]
        rig.endpoint = proxy.instead_of(rig.netra.endpoint)
        counts = proxy.counts
        with afterwards(
            lambda: counts.resets + counts.half_closes + counts.stalls + counts.dropped_bytes,
            lambda: setattr(proxy, "down", CLEAR),
            wait_s=0.3,
        ):
            result = rig.replay(NETRA_BRIDGE_ATTEMPTS="30", NETRA_USAGE_TIMEOUT="0.3")
    assert_whole(rig, result)


def test_refused(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nobody listens until a connection was refused, everything still arrives once."""
    refused = threading.Event()
    connect = asyncio.SelectorEventLoop.sock_connect

    async def sock_connect(loop: asyncio.SelectorEventLoop, peer: socket.socket, address: Any) -> None:
        try:
            await connect(loop, peer, address)
        except ConnectionRefusedError:
            refused.set()
            raise

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", sock_connect)
    with Proxy(rig.netra.emulator._port) as proxy:
        rig.endpoint = proxy.instead_of(rig.netra.endpoint)
        proxy.refuse()
        with afterwards(refused.is_set, proxy.listen):
            result = rig.replay(NETRA_BRIDGE_ATTEMPTS="30")
    assert_whole(rig, result)


@pytest.mark.parametrize("fault", ["truncated-json=1", "cut-body=1", "gzip-cut=2", "gzip-trailer-cut=1"])
def test_truncated_json_short_body_gzip_cut_anywhere(rig: Rig, fault: str) -> None:
    """A damaged page is discarded whole and read again."""
    rig.netra.set_faults(fault)
    assert_whole(rig, rig.replay(NETRA_BRIDGE_ATTEMPTS="6"))


def test_a_page_of_the_wrong_shape_is_an_error_with_its_json_path(rig: Rig) -> None:
    """A wrong shape means exit 69; a shape that is wrong only for a moment costs nothing."""
    rig.netra.set_faults("wrong-shape")
    assert_held(rig, rig.replay(NETRA_BRIDGE_ATTEMPTS="6"), 69, "$.pageInfo is missing")
    rig.netra.set_faults("wrong-shape=2")
    assert_whole(rig, rig.replay(NETRA_BRIDGE_ATTEMPTS="6"))


def test_unknown_extras_are_ignored(rig: Rig) -> None:
    """Unknown fields at any level change nothing."""

    def add(_: str, page: dict[str, Any]) -> None:
        for holder in (page, page["data"], page["data"]["pageInfo"], *page["data"]["data"]):
            holder["later"] = {"a": [1, None]}

    extras = OnPage(add)
    rig.spoil(extras)
    assert_whole(rig, rig.replay(), retried=False)
    happened("a page with extras", extras.struck)


def test_more_than_a_tenth_of_bad_items_stops(rig: Rig) -> None:
    """More than a tenth of bad items means that the API has changed, so the command stops."""
    rig.netra.set_faults("bad-item")
    assert_held(rig, rig.replay(), 69, "the API may have changed")


@pytest.mark.parametrize("length", [1, 2, 3, 5, 7])
def test_cursor_that_repeats_or_cycles(rig: Rig, length: int) -> None:
    """A cycle of any length is an error after one round at most, with no request storm."""
    rig.feed(700, 1)
    rig.netra.set_faults(f"cursor-loop={length}")
    before = rig.calls()
    result = rig.replay(None, "--concurrency", "1", NETRA_BRIDGE_BATCH_SPANS="1")
    assert result.code == 69, result.err
    assert "cursor" in result.said
    verdict = rig.oracle.verdict(written_to(rig.file))
    assert verdict.sound, verdict
    assert rig.calls() - before < 1000


@pytest.mark.parametrize("number", [1, 2])
def test_cursor_that_is_rejected_or_has_expired(rig: Rig, number: int) -> None:
    """The window, or the trace, is read again from its start, and repeats are suppressed."""
    rig.feed(230, 1)
    rig.feed(1, 230, start_ns=rig.oracle._start_ns + 10**12)
    rig.netra.set_faults(f"cursor-expired={number}")
    assert_whole(rig, rig.replay(), retried=False)
    happened("a refused cursor", rig.statuses(400) == 1)


@pytest.mark.parametrize("fault", ["empty-page-has-next", "has-next-missing", "has-next-string"])
def test_has_next_page_true_with_an_empty_page_missing_a_string(rig: Rig, fault: str) -> None:
    """Such a page is neither the end nor a busy loop: a few tries, then exit 69."""
    rig.netra.set_faults(fault)
    before = rig.calls()
    assert_held(rig, rig.replay(NETRA_BRIDGE_ATTEMPTS="6"), 69)
    assert rig.calls() - before < 20
    rig.netra.set_faults(f"{fault}=1")
    assert_whole(rig, rig.replay(NETRA_BRIDGE_ATTEMPTS="6"), retried=False)


def test_items_reorder_while_paging(rig: Rig) -> None:
    """Pages whose items change their order lose nothing and repeat nothing."""
    rig.feed(250, 1)
    rig.netra.set_faults("reorder")
    assert_whole(rig, rig.replay(), retried=False)


@pytest.mark.parametrize("behind", [True, False])
def test_items_appear_while_paging(rig: Rig, behind: bool) -> None:
    """Every trace that existed at the start is delivered, although new ones are listed before or after the cursor."""
    rig.feed(250, 1)
    there = set(rig.oracle.issued)
    grown: list[int] = []

    def grow(name: str, page: dict[str, Any]) -> None:
        if name == "traces" and len(grown) < 3:
            grown.append(1)
            start_ns = rig.oracle._start_ns + (-(10**9) if behind else 10**13) * len(grown)
            rig.oracle.feed(rig.netra.emulator.store, rig.oracle.traces(7, 1, start_ns=start_ns))

    flags = rig.range()
    rig.spoil(OnPage(grow))
    result = rig.replay(None, *flags)
    assert result.code == 0, result.err
    rig.oracle.assert_kept(written_to(rig.file), due=there)
    happened("growth between pages", len(grown) == 3)


def test_items_vanish_while_paging(rig: Rig) -> None:
    """A trace that is gone when it is read is named, and exit 3 says that something is missing; the others arrive."""
    gone = rig.oracle.trace_ids[4]

    class Gone(Fault):
        def instead(self, call: Call, /) -> Answer | None:
            return Answer(404, b'{"error": {"message": "no such trace"}}') if gone in call.path else None

    rig.spoil(Gone())
    result = rig.replay()
    assert result.code == 3
    assert gone in result.err
    rig.oracle.assert_kept(written_to(rig.file), due=[key for key in rig.oracle.issued if key[0] != gone])
    happened("a trace that is gone", rig.statuses(404))


BAD_TIMES = {
    "in the future": ("4102444800000", "4102444801000", None),
    "end before start": ("1795349300000", "1795349200000", "end_before_start"),
    "negative": ("-5", "1795349300000", "start_time_ms_clamped"),
    "beyond 64 bits": ("1795349300000", "99999999999999999999", "end_too_late"),
    "junk": ("yesterday", "1795349300000", "start_time_ms_unreadable"),
    "absent": (None, None, "start_time_missing"),
    "ISO 8601": ("2026-11-22T12:08:20Z", "2026-11-22T12:08:21Z", None),
}


@pytest.mark.parametrize("case", BAD_TIMES)
def test_spans_in_the_future_end_before_start_negative_units_mixed(rig: Rig, case: str) -> None:
    """Bad times are replaced and marked, and cost no span."""
    start, end, note = BAD_TIMES[case]

    def spoil(name: str, page: dict[str, Any]) -> None:
        if name == "spans":
            for item in page["data"]["data"][1:3]:
                item |= {"start_time_ms": start, "end_time_ms": end}

    bad = OnPage(spoil)
    rig.spoil(bad)
    result = rig.replay()
    assert result.code == 0, result.err
    sent = written_to(rig.file)
    assert sent.keys == rig.oracle.issued.keys()
    assert len(sent) == len(rig.oracle)
    marked = [span for _, span in sent if "netra.bridge.notes" in span["attributes"]]
    assert len(marked) == (2 * 12 if note else 0)
    assert all(note in str(span["attributes"]["netra.bridge.notes"]) for span in marked)
    assert all(0 <= span["start_ns"] <= span["end_ns"] < 2**63 for _, span in sent)
    happened("a page with bad times", bad.struck)


@pytest.mark.parametrize("status", [401, 403])
def test_key_expired_or_revoked_during_a_replay(rig: Rig, status: int) -> None:
    """The command exits with 77 and without a retry storm, and what was delivered until then is right."""

    class Revoked(Fault):
        def __init__(self) -> None:
            self.calls = 0

        def instead(self, call: Call, /) -> Answer | None:
            self.calls += 1
            return Answer(status, b'{"error": {"message": "revoked"}}') if self.calls > 6 else None

    rig.spoil(Revoked())
    result = rig.replay(None, "--concurrency", "2", NETRA_BRIDGE_BATCH_SPANS="1")
    assert_held(rig, result, 77, "NETRA_API_KEY", batch=1)
    assert 1 <= rig.statuses(status) <= 8  # those in flight, and the questions whether other traces can be read


def test_a_byte_every_0_4_s(rig: Rig) -> None:
    """The deadline covers the whole request; a read timeout would never fire."""
    rig.netra.set_faults("slow-body=0.4")
    began = time.monotonic()
    held = rig.replay(NETRA_USAGE_TIMEOUT="0.9", NETRA_BRIDGE_ATTEMPTS="1")
    assert_held(rig, held, 69, "no complete response within 0.9 s")
    assert time.monotonic() - began < SOON_S


@pytest.mark.parametrize("fault", ["gzip-bomb=1024", "huge-body"])
def test_gzip_bomb_huge_or_endless_body(rig: Rig, fault: str) -> None:
    """The error is clear and memory stays flat; the page size is quartered down to one item, and no further."""
    rig.netra.set_faults(fault)
    before = rig.calls()
    with rig.child(NETRA_BRIDGE_ATTEMPTS="6") as child:
        ended = child.wait()
    assert ended.code == 69
    assert "more than 67108864" in ended.said
    assert ended.peak_bytes < 250 * MIB
    assert 2 <= rig.calls() - before <= 12
    assert len(written_to(rig.file)) == 0


@pytest.mark.parametrize("encoding", ["br", "zstd"])
def test_encodings_that_were_not_requested(rig: Rig, encoding: str) -> None:
    """The error names the encoding, and nothing is guessed."""
    rig.netra.set_faults(f"encoding={encoding}")
    assert_held(rig, rig.replay(), 69, encoding)


class Listener:
    """A port that no one may talk to: it counts connections, and records what they send."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                peer.settimeout(1)
                self.heard.append(b"")
                self.heard[-1] = peer.recv(4096)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listening = Listener()
    yield listening
    listening.close()


def test_the_listener_hears_who_talks_to_it(listener: Listener) -> None:
    """The listener notices a client; the two tests below rest on it."""
    with socket.create_connection(("127.0.0.1", listener.port)) as client:
        client.sendall(b"hello")
        client.recv(1)
    assert listener.heard == [b"hello"]


def test_redirects(rig: Rig, listener: Listener) -> None:
    """The key goes only to the configured host: a redirect is an error and is not followed."""
    rig.netra.set_faults(f"redirect=http://127.0.0.1:{listener.port}/sdk/traces")
    assert_held(rig, rig.replay(), 78, "redirect")
    assert listener.heard == []


def test_proxy_variables(rig: Rig, listener: Listener) -> None:
    """A proxy that the environment names for other programs does not receive the key."""
    proxy = f"http://127.0.0.1:{listener.port}"
    assert_whole(rig, rig.replay(HTTP_PROXY=proxy, http_proxy=proxy, ALL_PROXY=proxy, NO_PROXY=""), retried=False)
    assert listener.heard == []


def test_plain_http_to_another_host(rig: Rig) -> None:
    """Plain http to another host is rejected before anything is sent. 192.0.2.1 belongs to no one (RFC 5737), and an
    attempt would run into its timeout.
    """
    rig.endpoint = "http://192.0.2.1/telemetry"
    began = time.monotonic()
    result = rig.replay(NETRA_USAGE_TIMEOUT="300")
    assert result.code == 78
    assert "192.0.2.1" in result.said
    assert time.monotonic() - began < SOON_S


ODD = {
    "a huge attribute": json.dumps({"input": "x" * (8 * MIB)}),
    "10^4 attributes": json.dumps({f"key.{number}": number for number in range(10_000)}),
    "deep nesting": '{"a": ' + "[" * 5000 + "]" * 5000 + "}",
    "a 10^5-digit integer": '{"a": ' + "9" * 100_000 + "}",
    "a lone surrogate": '{"a": "\\ud800", "\\udfff": 1}',
    "NUL": '{"a\\u0000b": "c\\u0000d"}',
    "NaN and infinities": '{"a": NaN, "b": Infinity, "c": -Infinity, "d": 1e999}',
    "a mixed list": '{"a": [1, "b", 2.5, true, null, {"c": [[]]}]}',
    "broken JSON": '{"a": "b',
    "no JSON": "hello",
    "another type": "[1, 2]",
}


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize("case", ODD)
def test_huge_attributes_deep_nesting_lone_surrogates_nul_nan_mixed_lists_broken_json(
    rig: Rig, case: str, transport: str
) -> None:
    """No span is lost because of its content, the real encoder accepts it, and the exporter logs nothing."""
    chosen = rig.oracle.span_ids(rig.oracle.trace_ids[3])[1]

    def spoil(_: str, page: dict[str, Any]) -> None:
        for item in page["data"]["data"]:
            if item["id"] == chosen[1]:
                item["attributes"] = ODD[case]

    odd = OnPage(spoil)
    rig.spoil(odd)
    with FakeDestination(max_message_bytes=64 * MIB) as fake:
        result = rig.replay(
            fake.grpc_url if transport == "grpc" else fake.http_url, NETRA_BRIDGE_BATCH_BYTES="20000000"
        )
        sent = stored_by(fake.stored)
    assert (result.code, result.err) == (0, "")
    assert sent.keys == rig.oracle.issued.keys()
    others = Sent(tuple(tuple(span for span in request if span[0] != chosen) for request in sent.requests))
    rig.oracle.assert_kept(others, due=rig.oracle.issued.keys() - {chosen})
    (content,) = [span for key, span in sent if key == chosen]
    assert content["attributes"], "something of it is kept"
    happened("an odd page", odd.struck)


ODD_IDS = {
    "a zero span id": {"id": "0" * 16},
    "a zero trace id": {"trace_id": "0" * 32},
    "a short id": {"id": "ab"},
    "no hex": {"id": "span/../../x"},
    "itself as its parent": {"parent_span_id": None},
}


@pytest.mark.parametrize("case", ODD_IDS)
def test_zero_ids_self_parent(rig: Rig, case: str) -> None:
    """An id that OpenTelemetry cannot express is replaced with a derived one, always the same, and marked; other ids are unchanged."""
    chosen = rig.oracle.span_ids(rig.oracle.trace_ids[3])[1]

    def spoil(_: str, page: dict[str, Any]) -> None:
        for item in page["data"]["data"]:
            if item["id"] == chosen[1]:
                item |= ODD_IDS[case] if "parent" not in case else {"parent_span_id": item["id"]}

    odd = OnPage(spoil)
    rig.spoil(odd)
    assert rig.replay().code == 0
    first = written_to(rig.file)
    (found,) = [(key, span) for key, span in first if "netra.bridge.notes" in span["attributes"]]
    assert len(first) == len(rig.oracle)
    assert rig.oracle.verdict(first, due=rig.oracle.issued.keys() - {chosen}).missing == []
    rig.file.unlink()
    assert rig.replay().code == 0
    assert [one for one in written_to(rig.file) if one[0] == found[0]] == [found]


def test_every_fault_of_the_emulator_is_used_here() -> None:
    """The bridge is tested against every fault in the emulator's table."""
    text = Path(__file__).read_text()
    assert [name for name in FAULTS if name not in text and name not in KNOWN_ELSEWHERE] == []


KNOWN_ELSEWHERE = {"status-400", "status-401", "status-403", "status-404", "unauthorized-after", "html", "gzip",
                   "bad-span-json", "no-dashboard", "usage-factor", "date"}  # fmt: skip


def test_a_range_with_nothing_in_it_is_an_end(tmp_path: Path) -> None:
    """A range with nothing in it is the one empty answer that means the end: nothing is missing, and the exit code is 0."""
    with running_rig(tmp_path, Oracle()) as rig:
        rig.oracle.traces(1, 1)
        result = rig.replay()
        assert result.code == 0
        assert rig.oracle.verdict(written_to(rig.file)).missing == list(rig.oracle.issued)
