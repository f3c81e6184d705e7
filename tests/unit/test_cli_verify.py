"""`verify` and `replay --verify-at`, over a store that the test scripts."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from netra_otel_bridge import Bridge, VerifyReport
from netra_otel_bridge.bridge import verify as bridge_verify
from netra_otel_bridge.core.errors import DestinationUnavailable, UsageError
from netra_otel_bridge.pipeline.delivering import Deliverer
from netra_otel_bridge.readback import waiting
from netra_otel_bridge.readback.otlp_file import OtlpFileReader
from netra_otel_bridge.readback.reader import TraceReader
from tests.support import cli
from tests.support.rig import OnPage, Rig, recorded, running_rig
from tests.support.scripted_store import ScriptedReader, stored

TRACES, SPANS = 6, 4
ALL = TRACES * SPANS
AT = "jaeger+grpc://127.0.0.1:16685"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait a minute before a span is missing."""
    monkeypatch.setattr(waiting, "SHOWN_AFTER_S", 0.0)
    monkeypatch.setattr(waiting, "FIRST_WAIT_S", 0.01)


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Run a Netra with `TRACES` traces, all copied into a file, with a state."""
    with running_rig(tmp_path_factory.mktemp("rig")) as made:
        made.feed(TRACES, SPANS)
        assert made.replay(None, "--state", str(made.state)).code == 0
        yield made


@pytest.fixture
def store(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> ScriptedReader:
    """Make `AT` a store that has all that was sent to the file."""
    reader = ScriptedReader(stored(rig.file))
    monkeypatch.setattr(bridge_verify, "open_reader", lambda *_, **__: reader)
    return reader


def without(reader: ScriptedReader, traces: int) -> None:
    """Let the store forget some traces."""
    reader.traces = dict(list(reader.traces.items())[traces:])


def verify(rig: Rig, *more: str, state: bool = True, at: str | None = AT, **env: str) -> cli.Result:
    where = ("--at", at) if at is not None else ()
    kept = ("--state", str(rig.state)) if state else ()
    arguments = ("verify", *rig.range(), "--to", f"otlp-file:{rig.file}", *where, *kept, *more)
    return cli.run(*arguments, env=rig.environment(**env))


def counts(report: Any) -> dict[str, int]:
    """Return the counts of the first store that are not 0."""
    (one, *_) = report["destinations"]
    kinds = (
        *("intact", "cut", "changed", "missing", "dead_lettered", "refused", "unreadable", "pending"),
        *("duplicated", "foreign", "hidden"),
    )
    return {kind: one[kind] for kind in kinds if one[kind]}


def test_a_store_that_has_everything(rig: Rig, store: ScriptedReader) -> None:
    """The document has the documented keys; the proof comes from the state alone; the exit code is 0."""
    before = {path: path.read_bytes() for path in rig.state.iterdir()}
    result = verify(rig, "--json")
    assert (result.code, result.err) == (0, "")
    assert list(result.json) == ["window", "destinations", "netra_calls", "read_back_calls", "seconds", "exit_code"]
    (one,) = result.json["destinations"]
    assert list(one) == [
        *("name", "at", "traces", "spans", "intact", "cut", "changed", "missing", "duplicated", "foreign", "hidden"),
        *("dead_lettered", "refused", "unreadable", "pending", "looked_for", "findings", "notes", "exit"),
    ]
    assert counts(result.json) == {"intact": ALL}
    assert (one["name"], one["at"], one["traces"]) == (f"otlp-file:{rig.file}", store.at, TRACES)
    assert (result.json["netra_calls"], result.json["read_back_calls"]) == (0, TRACES)
    assert {path: path.read_bytes() for path in rig.state.iterdir()} == before
    text = verify(rig)
    assert f"all {ALL} spans are intact" in text.out
    assert "proved from the state alone" in text.out
    assert "1 call to read back, 0 calls to Netra" in verify(rig, "--trace", next(iter(store.traces))).out


def test_what_is_missing_is_shown_with_its_traces(rig: Rig, store: ScriptedReader) -> None:
    """The verdict has the counts, the finding a sample; the exit code is 3."""
    lost = next(iter(store.traces))
    without(store, 1)
    result = verify(rig)
    assert result.code == 3
    assert f"{ALL - SPANS} of {ALL} spans are intact: {SPANS} missing" in result.out
    assert f"missing, {SPANS} spans: " in result.out
    assert f"for example trace {lost} span " in result.out
    report = verify(rig, "--json")
    assert (report.code, counts(report.json)) == (3, {"intact": ALL - SPANS, "missing": SPANS})
    (finding,) = report.json["destinations"][0]["findings"]
    assert {sample["trace_id"] for sample in finding["samples"]} == {lost}


def test_a_changed_span_is_asked_about_and_named(rig: Rig, store: ScriptedReader) -> None:
    """Netra says how a span differs; without a key for Netra it is changed all the same."""
    trace_id, data = next(iter(store.traces.items()))
    assert isinstance(data, bytes)
    changed = TracesData.FromString(data)
    changed.resource_spans[0].scope_spans[0].spans[0].name = "another"
    store.traces = {**store.traces, trace_id: changed.SerializeToString()}
    asked = verify(rig, "--json")
    assert counts(asked.json) == {"intact": ALL - 1, "changed": 1}
    assert "the name is changed" in asked.json["destinations"][0]["findings"][0]["what"]
    assert asked.json["netra_calls"] > 0
    alone = verify(rig, "--json", NETRA_API_KEY="")
    assert (counts(alone.json), alone.json["netra_calls"]) == ({"intact": ALL - 1, "changed": 1}, 0)


def test_a_store_that_cannot_be_asked_is_no_loss(rig: Rig, store: ScriptedReader) -> None:
    """The exit code is that of the error; nothing counts as missing; the report is printed all the same."""
    store._fails = lambda call: DestinationUnavailable("jaeger answered 503") if call > 2 else None
    store.concurrency = 1
    result = verify(rig, "--json")
    assert (result.code, result.json["exit_code"]) == (69, 69)
    assert counts(result.json) == {"intact": 2 * SPANS}
    assert "jaeger answered 503" in result.json["destinations"][0]["error"]["message"]
    assert "jaeger answered 503" in result.said
    text = verify(rig)
    assert "could not be verified: jaeger answered 503" in text.out


def test_where_to_read_has_to_be_said_unless_it_is_a_file(rig: Rig) -> None:
    """A file is its own store; any other destination needs --at."""
    assert counts(verify(rig, "--json", at=None).json) == {"intact": ALL}
    refused = cli.run("verify", *rig.range(), "--to", "otlp+grpc://127.0.0.1:1", env=rig.environment())
    assert (refused.code, "give --at" in refused.err) == (2, True)


def test_without_a_state_netra_is_read(rig: Rig, store: ScriptedReader) -> None:
    """The same verdicts come from what Netra has; a trace that it does not list is pending."""
    without(store, 2)
    result = verify(rig, "--json", state=False)
    assert counts(result.json) == {"intact": ALL - 2 * SPANS, "missing": 2 * SPANS}
    assert result.json["netra_calls"] > TRACES
    unknown = verify(rig, "--json", "--trace", "f" * 32, state=False)
    assert (unknown.code, counts(unknown.json)) == (3, {"pending": 1})


def test_the_default_state_is_used_if_it_has_the_range(rig: Rig, tmp_path: Path) -> None:
    """Nobody has to name the default state. If it has nothing of the range, Netra is read, and the report says so."""
    env = rig.environment(XDG_STATE_HOME=str(tmp_path))
    to = ("--to", f"otlp-file:{tmp_path / 'out'}", "--json")
    state = ("--state", str(tmp_path / "netra-otel-bridge"))
    assert cli.run("replay", *rig.range(), *to, *state, env=env).code == 0
    proved = cli.run("verify", *rig.range(), *to, env=env).json
    assert (counts(proved), proved["netra_calls"]) == ({"intact": ALL}, 0)
    before = ("--from", "1999-01-01", "--until", "1999-01-02")
    elsewhere = cli.run("verify", *before, *to, env=env).json
    assert (counts(elsewhere), elsewhere["netra_calls"] > 0) == ({}, True)
    assert "has nothing of this range" in elsewhere["destinations"][0]["notes"][0]


def test_a_range_that_was_not_copied_is_pending(rig: Rig, store: ScriptedReader) -> None:
    """A state that was named is never replaced by Netra: the range is pending, and the exit code is 3."""
    result = cli.run(
        *("verify", "--from", "1999-01-01", "--until", "1999-01-02", "--to", f"otlp-file:{rig.file}"),
        *("--at", AT, "--json", "--state", str(rig.state)),
        env=rig.environment(),
    )
    assert (result.code, counts(result.json), result.json["netra_calls"]) == (3, {"pending": 1}, 0)


def test_chosen_traces_are_verified_alone(rig: Rig, store: ScriptedReader) -> None:
    """--trace, --tenant and --sample choose; those that the state does not have are pending."""
    first, second, *_ = store.traces
    chosen = verify(rig, "--json", "--trace", first, "--trace", second)
    assert (counts(chosen.json), chosen.json["netra_calls"]) == ({"intact": 2 * SPANS}, 0)
    assert counts(verify(rig, "--json", "--trace", "f" * 32).json) == {"pending": 1}
    for state in (True, False):
        sampled = verify(rig, "--json", "--sample", "2", state=state)
        assert counts(sampled.json) == {"intact": 2 * SPANS}
        assert any(
            "2 traces were verified, at random, of 6" in note for note in sampled.json["destinations"][0]["notes"]
        )
    for form in (first.upper(), str(UUID(first)), str(UUID(first)).upper()):
        assert counts(verify(rig, "--json", "--trace", form).json) == {"intact": SPANS}
    unknown = verify(rig, "--trace", "zzz")
    assert (unknown.code, "the state has no such trace" in unknown.out) == (3, True)
    nobody = verify(rig, "--json", "--tenant", "nobody")
    assert counts(nobody.json) == {}


def test_the_library_raises_errors_with_the_report(rig: Rig) -> None:
    """A caller's own reader is used and not closed; findings are no error, and what ends a proof is raised."""
    bridge = Bridge(environ=rig.environment(), state=str(rig.state))
    range_ = dict(zip(("from_", "until"), rig.range()[1::2], strict=True))
    reader = ScriptedReader(stored(rig.file))
    without(reader, 1)
    report = bridge.verify(f"otlp-file:{rig.file}", at=reader, **range_)
    assert isinstance(report, VerifyReport)
    assert (report.exit_code, report.destinations[0].missing) == (3, SPANS)
    reader._fails = lambda _: DestinationUnavailable("busy")
    with pytest.raises(DestinationUnavailable, match="busy") as raised:
        bridge.verify(f"otlp-file:{rig.file}", at=reader, **range_)
    assert isinstance(raised.value.report, VerifyReport)
    with bridge.open_state() as state:
        reader._fails = lambda _: None
        assert bridge.verify(f"otlp-file:{rig.file}", at=reader, state=state, **range_).netra_calls == 0
    with pytest.raises(UsageError, match="query is of type dict"):
        bridge.verify("x", at=reader, query={"tenant_id": "a"}, **range_)  # type: ignore[arg-type]


def replayed(rig: Rig, file: Path, *more: str) -> cli.Result:
    return cli.run("replay", *rig.range(), "--to", f"otlp-file:{file}", *more, env=rig.environment())


def test_a_replay_is_verified_before_its_checkpoint_is_deleted(rig: Rig, store: ScriptedReader, tmp_path: Path) -> None:
    """The report of the verification is below that of the replay, and the worse exit code wins."""
    home = rig.directory / "state-home" / "netra-otel-bridge" / "replays"
    good = replayed(rig, tmp_path / "out", "--json", "--verify-at", AT)
    assert (good.code, counts(good.json["verify"]), good.json["verify"]["netra_calls"]) == (0, {"intact": ALL}, 0)
    without(store, 1)
    bad = replayed(rig, tmp_path / "more", "--verify-at", f"otlp-file:{tmp_path / 'more'}={AT}")
    assert bad.code == 3
    assert bad.out.index("API calls") < bad.out.index("spans are intact")
    json_ = replayed(rig, tmp_path / "json", "--json", "--verify-at", AT)
    assert (json_.code, json_.json["exit_code"], json_.json["verify"]["exit_code"]) == (3, 3, 3)
    assert not list(home.glob("*"))


def test_a_replay_keeps_its_checkpoint_if_the_store_cannot_be_asked(
    rig: Rig, store: ScriptedReader, tmp_path: Path
) -> None:
    """The same command then sends nothing again, and verifies."""
    store._fails = lambda _: DestinationUnavailable("busy")
    failed = replayed(rig, tmp_path / "out", "--json", "--verify-at", AT)
    assert (failed.code, failed.json["exit_code"], failed.json["verify"]["exit_code"]) == (69, 69, 69)
    assert failed.json["destinations"][0]["delivered"] == ALL
    store._fails = lambda _: None
    again = replayed(rig, tmp_path / "out", "--json", "--verify-at", AT)
    assert (again.code, counts(again.json["verify"])) == (0, {"intact": ALL})
    assert (again.json["destinations"][0]["delivered"], again.json["destinations"][0]["skipped"]) == (0, ALL)


def test_each_destination_has_its_own_store(rig: Rig, store: ScriptedReader, tmp_path: Path) -> None:
    """With several destinations, --verify-at names one; otherwise the call makes no sense."""
    one, other = f"otlp-file:{tmp_path / 'one'}", f"otlp-file:{tmp_path / 'other'}"
    both = ("--to", other, "--json")
    unclear = replayed(rig, tmp_path / "one", *both, "--verify-at", AT)
    assert (unclear.code, "write DEST=AT" in unclear.err) == (2, True)
    twice = replayed(rig, tmp_path / "one", *both, "--verify-at", f"{one}={AT}", "--verify-at", f"{one}={AT}")
    assert (twice.code, "two stores" in twice.err) == (2, True)
    fine = replayed(rig, tmp_path / "one", *both, "--verify-at", f"{one}={AT}", "--verify-at", f"{other}={AT}")
    assert [store["name"] for store in fine.json["verify"]["destinations"]] == [one, other]
    dry = replayed(rig, tmp_path / "one", "--dry-run", "--verify-at", AT)
    assert (dry.code, "omit --dry-run" in dry.err) == (2, True)


def test_the_old_flag_still_reads_twice(rig: Rig, tmp_path: Path) -> None:
    """--verify of a replay is --reread now, and says so in one line."""
    result = replayed(rig, tmp_path / "out", "--json", "--verify")
    assert result.json["destinations"][0]["verified"] == ALL
    assert "--verify is called --reread now" in result.err
    assert "--verify " not in cli.run("replay", "--help").out


def test_headers_and_certificate_reach_the_reader(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials for a store come from their own setting, and are masked."""
    seen: list[Any] = []

    def opened(at: str, **options: Any) -> ScriptedReader:
        seen.append((at, options))
        return ScriptedReader({})

    monkeypatch.setattr(bridge_verify, "open_reader", opened)
    env = {
        "NETRA_BRIDGE_READ_BACK_HEADERS": "authorization=Bearer%20geheim77",
        "NETRA_BRIDGE_READ_BACK_CERTIFICATE": "ca.pem",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-otlp=other",
    }
    verify(rig, "--json", **env)
    assert seen == [(AT, {"headers": {"authorization": "Bearer geheim77"}, "ca_file": "ca.pem"})]
    assert "geheim77" not in cli.run("config", "show", env=rig.environment(**env)).out


def test_repair_sends_what_is_missing_and_only_that(rig: Rig, tmp_path: Path) -> None:
    """With a state: the missing spans come back, no other is sent twice, and the state is whole again."""
    file = tmp_path / "out"
    state = ("--state", str(tmp_path / "state"))
    assert replayed(rig, file, *state).code == 0
    lost = next(iter(stored(file)))
    whole = [json.loads(line) for line in file.read_text().splitlines()]
    for document in whole:
        document["resourceSpans"] = [one for one in document["resourceSpans"] if lost not in json.dumps(one)]
    file.write_text("".join(f"{json.dumps(one)}\n" for one in whole))
    repaired = replayed(rig, file, "--json", *state, "--repair", "--verify-at", f"otlp-file:{file}")
    assert repaired.json["repaired"] == [{"name": f"otlp-file:{file}", "spans": SPANS, "sent_again": SPANS, "exit": 0}]
    assert (repaired.code, counts(repaired.json["verify"])) == (0, {"intact": ALL})
    again = replayed(rig, file, "--json", *state, "--repair", "--verify-at", f"otlp-file:{file}")
    assert (again.code, again.json["repaired"], again.json["destinations"][0]["skipped"]) == (0, [], ALL)


def test_a_repair_that_is_killed_is_resumed(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a repair that is killed in its middle, the same command sends what is still missing, and nothing twice."""
    file, state = tmp_path / "out", tmp_path / "state"
    assert replayed(rig, file, "--state", str(state)).code == 0
    file.write_text("")
    left = tmp_path / "left"
    batches = 0
    send = Deliverer._send

    async def send_some(self: Deliverer, batch: Any) -> None:
        nonlocal batches
        batches += 1
        if batches == 3:
            await self._recorder.flush()
            shutil.copytree(state, left / "state")
            shutil.copy(file, left / "out")
        await send(self, batch)

    monkeypatch.setattr(Deliverer, "_send", send_some)
    env = rig.environment(NETRA_BRIDGE_BATCH_SPANS=str(SPANS))
    again = ("--repair", "--json", "--verify-at", f"otlp-file:{file}")
    to = ("replay", *rig.range(), "--to", f"otlp-file:{file}")
    assert cli.run(*to, "--state", str(state), *again, env=env).json["repaired"][0]["sent_again"] == ALL
    shutil.copy(left / "out", file)
    there = 2 * SPANS
    assert file.read_text().count('"spanId"') == there
    second = cli.run(*to, "--state", str(left / "state"), *again, env=env)
    lane = second.json["destinations"][0]
    assert (lane["delivered"], lane["changed"], lane["skipped"]) == (0, 0, ALL)
    assert second.json["repaired"][0]["sent_again"] == ALL - there
    assert (second.code, counts(second.json["verify"])) == (0, {"intact": ALL})


def test_repair_works_without_a_state(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint of the replay is enough. Each report is printed, and the last one decides."""
    file = tmp_path / "out"
    opened: list[TraceReader] = []

    def open_one(at: str, **_: Any) -> TraceReader:
        if file.exists():  # before the replay, the reader is only opened and closed
            lacking = ScriptedReader(dict(list(stored(file).items())[1:]))
            opened.append(OtlpFileReader(at, file) if opened else lacking)
            return opened[-1]
        return ScriptedReader({})

    monkeypatch.setattr(bridge_verify, "open_reader", open_one)
    result = replayed(rig, file, "--repair", "--verify-at", AT)
    assert f"{SPANS} spans were missing or cut; {SPANS} were sent again" in result.out
    assert result.out.index(f"{SPANS} missing") < result.out.index("sent again") < result.out.index("duplicated")
    assert f"all {ALL}" not in result.out
    assert result.code == 3


def test_what_netra_no_longer_has_stays_missing(rig: Rig, store: ScriptedReader, tmp_path: Path) -> None:
    """A span that cannot be sent again is still known to have been sent, also after another repair."""
    state = ("--state", str(tmp_path / "state"))
    with running_rig(tmp_path) as other:
        other.feed(2, SPANS)
        first = tuple(other.arguments(f"otlp-file:{tmp_path / 'out'}", *state))
        assert cli.run(*first, env=other.environment()).code == 0
        lost = next(iter(stored(tmp_path / "out")))
        store.traces = {key: value for key, value in stored(tmp_path / "out").items() if key != lost}

        def delete(name: str, page: dict[str, Any]) -> None:
            if name == "traces":
                page["data"]["data"] = [one for one in page["data"]["data"] if one["id"] != lost]

        other.spoil(OnPage(delete))
        for _ in range(2):
            before = recorded(tmp_path / "state", [lost])
            result = cli.run(*first, "--repair", "--verify-at", AT, env=other.environment())
            assert len(before) == SPANS
            assert recorded(tmp_path / "state", [lost]) == before
            assert result.code == 3
            assert result.json["repaired"][0]["sent_again"] == 0
            assert counts(result.json["verify"]) == {"intact": SPANS, "missing": SPANS}


def test_repair_needs_a_place_to_look(rig: Rig, tmp_path: Path) -> None:
    """Without --verify-at nothing is known to be missing."""
    refused = replayed(rig, tmp_path / "out", "--repair")
    assert (refused.code, "add --verify-at" in refused.err) == (2, True)


class Hangs(ScriptedReader):
    """A store that never answers. ``asked`` is set once it is asked."""

    def __init__(self, traces: dict[str, bytes]) -> None:
        super().__init__(traces)
        self.asked = asyncio.Event()

    async def read(self, trace_id: str, start_ns: int) -> bytes:
        self.asked.set()
        await asyncio.Event().wait()
        return b""


async def test_two_at_once_beside_a_running_bridge_say_the_same(rig: Rig) -> None:
    """Verifications share a state with each other and with the bridge that owns it, and change nothing in it."""
    bridge = Bridge(environ=rig.environment(), state=str(rig.state))
    range_ = dict(zip(("from_", "until"), rig.range()[1::2], strict=True))
    to = f"otlp-file:{rig.file}"
    with bridge.open_state() as owned:
        before = [(lane.delivered, lane.traces, lane.updated_ns) for lane in owned.lanes()]
        readers = [ScriptedReader(dict(list(stored(rig.file).items())[1:])) for _ in range(2)]
        hanging = Hangs({})
        cancelled = asyncio.create_task(bridge.averify(to, at=hanging, **range_))
        await hanging.asked.wait()
        cancelled.cancel()
        reports = await asyncio.gather(*(bridge.averify(to, at=one, **range_) for one in readers))
        assert [(one.destinations[0].intact, one.destinations[0].missing) for one in reports] == [
            (ALL - SPANS, SPANS)
        ] * 2
        assert [(lane.delivered, lane.traces, lane.updated_ns) for lane in owned.lanes()] == before
    with pytest.raises(asyncio.CancelledError):
        await cancelled


def test_a_reader_that_fails_to_close_does_not_spoil_the_report(
    rig: Rig, store: ScriptedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report is complete, and its exit code stays."""

    async def fail() -> None:
        raise KeyError("connection")

    monkeypatch.setattr(store, "aclose", fail)
    result = verify(rig, "--json")
    assert (result.code, counts(result.json)) == (0, {"intact": ALL})
    assert "raised KeyError: 'connection' in aclose" in result.err


def test_a_reader_that_raises_ends_with_its_name(
    rig: Rig, store: ScriptedReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no bug of the bridge; the exit code is 1, and the report is printed."""

    async def fail(trace_id: str, start_ns: int) -> bytes:
        raise KeyError(trace_id)

    monkeypatch.setattr(store, "read", fail)
    result = verify(rig, "--json")
    assert (result.code, result.json["exit_code"]) == (1, 1)
    assert "this is a bug in the reader" in result.err
    assert "raised KeyError" in result.json["destinations"][0]["error"]["message"]


def test_one_destination_is_verified(rig: Rig, store: ScriptedReader) -> None:
    """A second --to is refused, instead of one of both being forgotten."""
    refused = verify(rig, "--json", "--to", "otlp-file:other")
    assert (refused.code, "--to is given 2 times" in refused.err, store.calls) == (2, True, 0)


@pytest.mark.parametrize("more", [(), ("--json",), ("--repair",), ("--repair", "--json")])
@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("foo=jaeger+grpc://127.0.0.1:16685", "foo is not a destination of this command"),
        ("nonsense", "'nonsense' is not a store that can be read back"),
        ("otlp+grpc://127.0.0.1:4317", "a Collector cannot be read back"),
    ],
)
def test_a_store_that_makes_no_sense_is_noticed_before_the_replay(
    rig: Rig, tmp_path: Path, at: str, said: str, more: tuple[str, ...]
) -> None:
    """Nothing is read or sent by then; the exit code is 2."""
    result = replayed(rig, tmp_path / "out", "--verify-at", at, *more)
    assert (result.code, said in result.err, result.err.count("\n")) == (2, True, 1)
    assert not (tmp_path / "out").exists()
    if "--json" in more:
        assert result.json["exit_code"] == 2


def test_the_seconds_of_a_replay_cover_its_verification(
    rig: Rig, store: ScriptedReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of the document is that of the whole command."""
    read = store.read

    async def read_slowly(trace_id: str, start_ns: int) -> bytes:
        await asyncio.sleep(0.5)
        return await read(trace_id, start_ns)

    monkeypatch.setattr(store, "read", read_slowly)
    report = replayed(rig, tmp_path / "out", "--json", "--verify-at", AT).json
    assert report["seconds"] > report["verify"]["seconds"] > 0.5
