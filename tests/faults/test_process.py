"""The rows of "The process" in the table of faults: run the command, check its exit code, its one line, and the oracle.

Kills are in ``tests/crash``; the checks of a state are in ``tests/unit/test_state_*.py``.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from tests.support import cli, strace
from tests.support.child import Child
from tests.support.cli import CANARY, Result
from tests.support.compare import Key
from tests.support.fake_destination import Reject
from tests.support.judging_destination import JudgingDestination, span_ids
from tests.support.oracle import MS, happened, written_to
from tests.support.rig import Rig, recorded
from tests.support.strace import Point
from tests.support.waiting import SOON_S
from tests.support.warm import Warm

pytestmark = pytest.mark.faults

HEADER_SECRET = "tok-canary-51b0"


def replay(rig: Rig, to: str | None = None, **env: str) -> Result:
    return rig.replay(to, "--state", str(rig.state), **env)


def recent(rig: Rig, traces: int = 6, spans: int = 4) -> set[Key]:
    """Feed traces of the last minute, which ``run`` follows."""
    keys = rig.oracle.traces(traces, spans, start_ns=time.time_ns() - 60_000 * MS)
    rig.oracle.feed(rig.netra, keys)
    return set(keys)


def of_sqlite(change: str) -> Callable[[Path], object]:
    """Return damage done by SQL, which leaves the file a sound database."""

    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database:
            database.execute(change)
            database.commit()

    return damage


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x55
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zero bytes": lambda path: path.write_bytes(b""),
    "no database": lambda path: path.write_bytes(b"a page of notes\n" * 600),
    "another program's": of_sqlite("PRAGMA application_id = 77"),
    "a newer schema": of_sqlite("PRAGMA user_version = 99"),
    "flipped bytes": flip,
    "deleted": Path.unlink,
}


@pytest.mark.parametrize("command", ["replay", "run"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_state_truncated_emptied_foreign_newer_flipped_deleted(rig: Rig, damage: str, command: str) -> None:
    """A damaged state means exit 78 before anything is read or sent; one line names it and both ways out; it is not changed."""
    assert replay(rig).code == 0
    DAMAGE[damage](rig.state / "state.db")
    left = {path.name: path.read_bytes() for path in rig.state.iterdir()}
    before = rig.calls()
    if command == "replay":
        result = replay(rig)
    else:
        env = rig.environment(OTEL_EXPORTER_PROMETHEUS_PORT="0")
        result = cli.run(*rig.following(None), env=env)
    assert result.code == 78
    assert f"the state in {rig.state} cannot be used: " in result.said
    assert "put back a backup" in result.said
    assert f"state reset --all --state {rig.state}" in result.said
    assert rig.calls() == before
    assert {path.name: path.read_bytes() for path in rig.state.iterdir()} == left
    rig.oracle.assert_kept(written_to(rig.file))


def test_state_deleted_while_running(rig: Rig) -> None:
    """``run`` stops and says which file is lost and what to do; the next start does not mistake itself for a first one."""
    first = recent(rig)
    with rig.follower() as child:
        child.until(lambda: first <= written_to(rig.file).keys)
        (rig.state / "state.db").unlink()
        recent(rig)
        ended = child.wait()
    assert ended.code == 75
    assert f"{rig.state / 'state.db'}: it was deleted while" in ended.said
    assert replay(rig).code == 78


@pytest.mark.parametrize("second", ["run", "replay", "state reset"])
def test_two_bridges_on_one_state_directory(rig: Rig, second: str) -> None:
    """The second bridge exits at once with 75 and names the owner's pid; the first is not disturbed; its end frees the lock."""
    first = recent(rig)
    arguments = {
        "run": rig.following(None),
        "replay": rig.arguments(None, "--state", str(rig.state)),
        "state reset": ("state", "reset", "--all", "--state", str(rig.state)),
    }[second]
    with rig.follower() as owner:
        owner.until(lambda: first <= written_to(rig.file).keys)
        before = written_to(rig.file)
        began = time.monotonic()
        result = cli.run(*arguments, env=rig.environment(OTEL_EXPORTER_PROMETHEUS_PORT="0"))
        assert time.monotonic() - began < SOON_S
        assert result.code == 75
        assert f"pid {owner.pid}" in result.err
        assert str(rig.state) in result.err
        later = recent(rig, 2)
        owner.until(lambda: later <= written_to(rig.file).keys)
        assert len(written_to(rig.file)) == len(before) + len(later)
        owner.kill()
    assert cli.run("state", "reset", "--all", "--state", str(rig.state), env=rig.environment()).code == 0


def test_commands_that_only_read_need_no_lock(rig: Rig) -> None:
    """``status`` and ``state dead-letters`` work beside a running bridge."""
    first = recent(rig)
    with rig.follower() as owner:
        owner.until(lambda: first <= written_to(rig.file).keys)
        for command in (("status", "--json"), ("state", "dead-letters")):
            assert cli.run(*command, "--state", str(rig.state), env=rig.environment()).code == 0
        assert owner.running


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with Warm(tmp_path_factory.mktemp("warm")) as running:
        yield running


@pytest.mark.parametrize(("error", "advice"), [("ENOSPC", "space"), ("EIO", "check the disk")])
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
@pytest.mark.parametrize("nth", [2, 6])
def test_disk_full_or_eio(rig: Rig, warm: Warm, call: str, error: str, advice: str, nth: int) -> None:
    """The command stops and names the path and what to do; on a sound disk it resumes, and repeats only what it must."""
    strace.needed()
    arguments = rig.arguments(None, "--state", str(rig.state))
    env = rig.environment(NETRA_BRIDGE_BATCH_SPANS="4")
    ended = warm.run(*arguments, env=env, strace=strace.failing(Point(call, nth), error))
    assert ended.code == 75, ended.err
    assert f"cannot save progress in {rig.state}" in ended.said
    assert advice in ended.said
    sent = written_to(rig.file)
    unrecorded = sent.keys - recorded(rig.state, rig.oracle.trace_ids).keys()
    result = replay(rig)
    assert result.code == 0, result.err
    verdict = rig.oracle.assert_kept(written_to(rig.file), repeats=len(unrecorded))
    assert verdict.repeated.keys() <= unrecorded


def test_secrets_and_modes(rig: Rig) -> None:
    """Neither the key nor a header is in the state, a dead letter, the output file or any output; file modes are 0700 and 0600."""
    poison = rig.oracle.span_ids(rig.oracle.trace_ids[3])[1]
    reject = Reject(grpc.StatusCode.INVALID_ARGUMENT, 400, f"{HEADER_SECRET} may not send this")
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {HEADER_SECRET}"}
    with JudgingDestination(lambda received: reject if poison[1] in span_ids(received) else None) as fake:
        env = rig.environment(**headers)
        arguments = rig.arguments(fake.grpc_url, "--state", str(rig.state), "-v")
        with Child(*arguments, directory=rig.directory, env=env, secrets=(CANARY, HEADER_SECRET)) as child:
            child.wait()
        says = [child.out, child.err]
        for command in (
            ("status", "--state", str(rig.state), "--json"),
            ("state", "dead-letters", "--state", str(rig.state)),
            ("check", "--to", fake.grpc_url),
            ("config", "show"),
        ):
            result = cli.run(*command, env=env)
            says += [result.out, result.err]
        assert not any(secret in said for said in says for secret in (CANARY, HEADER_SECRET))
        happened("the header at the destination", HEADER_SECRET in fake.received[0].headers["authorization"])
    happened("a dead letter", any(poison[1] in said for said in says))
    kept = [path for path in rig.state.rglob("*") if path.is_file()]
    happened("a state", len(kept) > 2)
    for path in kept:
        for secret in (CANARY, HEADER_SECRET):
            assert secret.encode() not in path.read_bytes(), path
        assert path.stat().st_mode & 0o777 == 0o600, path
    assert rig.state.stat().st_mode & 0o777 == 0o700


def test_a_copy_of_a_state_is_a_backup(rig: Rig) -> None:
    """After a copy of the state is put back, the replay resumes from it."""
    assert replay(rig).code == 0
    shutil.copytree(rig.state, rig.directory / "backup")
    (rig.state / "state.db").write_bytes(b"")
    assert replay(rig).code == 78
    shutil.rmtree(rig.state)
    shutil.copytree(rig.directory / "backup", rig.state)
    (lane,) = replay(rig).json["destinations"]
    assert lane["skipped"] == len(rig.oracle)
    rig.oracle.assert_kept(written_to(rig.file))
