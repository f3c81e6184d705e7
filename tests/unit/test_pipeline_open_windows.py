"""A window that Netra fails to list, although it lists others, keeps nothing else waiting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge.core.clock import MINUTE_NS, NS_PER_S
from netra_otel_bridge.core.errors import NetraError, NetraRateLimited, NetraRejected, NetraUnavailable
from netra_otel_bridge.core.model.query import Window
from netra_otel_bridge.core.time_text import parse_time_ns
from netra_otel_bridge.pipeline.open_windows import OpenWindows
from netra_otel_bridge.state import StateStore
from tests.support.fake_clock import FakeClock
from tests.support.in_process import SETTLE_NS, Life, Netra, Peer
from tests.support.oracle import MS, Oracle
from tests.support.streams import stored

pytestmark = pytest.mark.faults

HOUR_NS = 60 * MINUTE_NS
DOWN = NetraUnavailable("HTTP 500", status=500)


class Gap(Netra):
    """A Netra that fails to list each range with ``at_ns`` in it; with ``all``, every range."""

    at_ns: int | None = None
    all = False
    error: NetraError = DOWN

    async def list_traces(self, start_time: Any, end_time: Any, *args: Any, **kwargs: Any) -> Any:
        is_in = self.at_ns is not None and parse_time_ns(start_time, 0) <= self.at_ns < parse_time_ns(end_time, 0)
        if is_in or self.all:
            raise self.error
        return await super().list_traces(start_time, end_time, *args, **kwargs)


class World:
    """A service that follows traces of three hours, one a minute, with a poll every 30 s."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.since_ns = (self.clock.now_ns() - 4 * HOUR_NS) // HOUR_NS * HOUR_NS
        self.oracle = Oracle(start_ns=self.since_ns // MS * MS)
        for minute in range(180):
            self.oracle.traces(1, 1, start_ns=self.since_ns + minute * MINUTE_NS + NS_PER_S)
        self.store = stored(self.oracle)
        self.netra = Gap(self.store, self.clock)
        self.peer = Peer()
        self.path = path / "state"

    def life(self) -> Life:
        return Life(self.path, self.netra, self.peer, self.clock, self.since_ns, 30 * NS_PER_S)

    def due(self, *without: Window) -> set[Any]:
        """Return the spans that start outside of these windows."""
        starts = {key: self.oracle.start_ns(key) for key in self.oracle.issued}
        return {key for key, ns in starts.items() if not any(one.start_ns <= ns < one.end_ns for one in without)}

    def feed(self) -> None:
        """Issue a trace that starts before the time that settles."""
        start_ns = self.clock.now_ns() - SETTLE_NS - 10 * NS_PER_S
        self.oracle.feed(self.store, self.oracle.traces(1, 1, start_ns=start_ns))


@pytest.mark.parametrize(
    "error", [DOWN, NetraRejected("HTTP 400", status=400), NetraRateLimited("HTTP 429", status=429)]
)
async def test_live_traffic_goes_on_around_it(tmp_path: Path, error: NetraError) -> None:
    """Later traces arrive at once, only the failing minutes are missing in the end, and the watermark stays before them."""
    world = World(tmp_path)
    netra, peer = world.netra, world.peer
    netra.error = error
    netra.at_ns = world.since_ns + 90 * MINUTE_NS
    life = world.life()
    hour = Window(world.since_ns + HOUR_NS, world.since_ns + 2 * HOUR_NS)
    for poll in range(60):
        world.feed()
        assert await life.poll()
        if not poll:
            assert peer.sent.keys == world.due(hour)
        assert world.due(hour) <= peer.sent.keys
        health = life.follower.health()
        assert health.watermark_ns <= netra.at_ns
        assert "listing traces from 20" in health.problem
        assert str(error) in health.problem
    missing = world.due() - peer.sent.keys
    assert 1 <= len(missing) <= 2
    assert health.held_back == 0
    listed = len(netra.asked)
    await life.poll()
    assert len(netra.asked) - listed < 10, "what was listed since is not listed again in each poll"
    netra.at_ns = None
    for _ in range(25):
        assert await life.poll()
    world.oracle.assert_kept(peer.sent)
    assert life.follower.health().problem == ""
    assert world.clock.now_ns() - life.follower.health().watermark_ns < SETTLE_NS + 60 * NS_PER_S
    await life.stop()


async def test_a_restart_lists_it_again(tmp_path: Path) -> None:
    """The state knows only how far everything is answered, so nothing is skipped by a service that is started again."""
    world = World(tmp_path)
    world.netra.at_ns = world.since_ns + 90 * MINUTE_NS
    life = world.life()
    for _ in range(5):
        assert await life.poll()
    await life.stop()
    with StateStore.open(world.path, world.clock) as store:
        watermark_ns = store.lane(world.netra.base_url, world.peer.name).watermark_ns()
    assert watermark_ns is not None
    assert watermark_ns <= world.netra.at_ns
    world.netra.at_ns = None
    life = world.life()
    assert await life.poll()
    world.oracle.assert_kept(world.peer.sent)
    await life.stop()


async def test_if_nothing_is_listed_it_is_not_the_window(tmp_path: Path) -> None:
    """The pass fails with the error, and the next one lists everything."""
    world = World(tmp_path)
    world.netra.all = True
    life = world.life()
    assert await life.poll()
    assert life.follower.health().problem == "HTTP 500"
    world.netra.all = False
    for _ in range(2):
        assert await life.poll()
    world.oracle.assert_kept(world.peer.sent)
    assert life.follower.health().problem == ""
    await life.stop()


def test_the_parts_of_a_window_that_are_listed_are_no_longer_open() -> None:
    """After each pause its halves are due, and what overlaps it is listed without it."""
    clock = FakeClock()
    windows = OpenWindows(clock)
    whole = Window(0, 8 * MINUTE_NS)
    windows.update([whole], [(Window(4 * MINUTE_NS, 8 * MINUTE_NS), DOWN)])
    assert windows.due([whole]) == [Window(0, 4 * MINUTE_NS)]
    clock.elapsed_s += 20
    first, left, right = windows.due([Window(0, 9 * MINUTE_NS)])[:3]
    assert (left, right) == (Window(4 * MINUTE_NS, 6 * MINUTE_NS), Window(6 * MINUTE_NS, 8 * MINUTE_NS))
    windows.update([first, left, right], [(right, DOWN)])
    assert (windows.start_ns, "00:06:00" in windows.problem) == (6 * MINUTE_NS, True)
    clock.elapsed_s += 20
    assert windows.due([]) == [], "the pause has doubled"
    windows.update([right], [])
    assert (windows.start_ns, windows.problem) == (None, "")
