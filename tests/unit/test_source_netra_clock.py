"""The time by two clocks that may both jump."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_otel_bridge.core.clock import CLOCK_OFF_NS, NS_PER_S
from netra_otel_bridge.source.netra_clock import BELIEVED_S, SHOWN_S
from tests.support.clocks import TwoClocks

HOUR, DAY, YEAR = 3600, 86_400, 31_536_000
JUMPS = (-10 * YEAR, -YEAR, -DAY, -HOUR, -120, 120, HOUR, DAY, YEAR, 10 * YEAR)


def agreed() -> TwoClocks:
    clocks = TwoClocks()
    clocks.say_for(60, 0)
    return clocks


def near(shown: tuple[float, float, float], *wanted: float) -> bool:
    return all(abs(one - other) <= 2 for one, other in zip(shown, wanted, strict=True))


def test_before_netra_answers_the_time_is_this_machines() -> None:
    """Without an answer there is one clock, and no disagreement."""
    clocks = TwoClocks()
    clocks.own_off(HOUR)
    assert clocks.shown_s() == (HOUR, HOUR, HOUR)
    health = clocks.netra_clock.health()
    assert (health.offset_ns, health.problem) == (None, "")


@pytest.mark.parametrize("jump_s", JUMPS)
def test_netra_jumps_for_13_seconds(jump_s: int) -> None:
    """A short jump of Netra's clock moves no time, and is shown for a while."""
    clocks = agreed()
    clocks.say_for(13, jump_s, every_s=1)
    assert near(clocks.shown_s(), 0, 0, 0)
    health = clocks.netra_clock.health()
    assert health.offset_ns is not None
    assert abs(health.offset_ns / NS_PER_S - jump_s) <= 2
    assert health.problem.startswith(f"Netra's clock is {abs(health.offset_ns) / NS_PER_S:.0f} s ")
    assert abs(health.problem_since_ns - clocks.real_ns()) < 20 * NS_PER_S
    clocks.say_for(SHOWN_S + 10, 0)
    assert clocks.netra_clock.health().problem == ""
    assert clocks.netra_clock.jumps == 0


@pytest.mark.parametrize("jump_s", JUMPS)
def test_netra_jumps_for_good_and_back(jump_s: int) -> None:
    """A jump is believed after several answers over a time, moves no time that lasts, and a return is believed at once."""
    clocks = agreed()
    clocks.say_for(BELIEVED_S - 20, jump_s)
    assert near(clocks.shown_s(), 0, 0, 0)
    clocks.say_for(60, jump_s)
    assert near(clocks.shown_s(), jump_s, min(0, jump_s), max(0, jump_s))
    assert clocks.netra_clock.jumps == 1
    clocks.say(0)
    assert near(clocks.shown_s(), 0, 0, 0)
    assert clocks.netra_clock.jumps == 2


@pytest.mark.parametrize("jump_s", JUMPS)
def test_a_few_answers_over_a_long_time_are_not_enough(jump_s: int) -> None:
    """Time alone proves nothing: a lane that polls seldom hears few answers."""
    clocks = agreed()
    for _ in range(4):
        clocks.own.elapsed_s += BELIEVED_S
        clocks.say(jump_s)
    assert near(clocks.shown_s(), 0, 0, 0)


@pytest.mark.parametrize("jump_s", JUMPS)
def test_one_wrong_server_behind_a_load_balancer(jump_s: int) -> None:
    """Answers that alternate are never believed, and the disagreement stays visible meanwhile."""
    clocks = agreed()
    for _ in range(50):
        clocks.say_for(10, jump_s)
        clocks.say_for(20, 0)
        assert near(clocks.shown_s(), 0, 0, 0)
        assert clocks.netra_clock.health().problem
    assert clocks.netra_clock.jumps == 0


def test_answers_that_disagree_among_themselves_are_not_believed() -> None:
    """Samples of different jumps do not add up."""
    clocks = agreed()
    for number in range(40):
        clocks.say_for(10, HOUR * (1 + number % 3))
        assert near(clocks.shown_s(), 0, 0, 0)


@pytest.mark.parametrize("jump_s", JUMPS)
def test_this_machine_jumps_and_back(jump_s: int) -> None:
    """A jump of this machine's wall clock does not move Netra's time, not even before the next answer."""
    clocks = agreed()
    clocks.own_off(jump_s)
    assert near(clocks.shown_s(), 0, min(0, jump_s), max(0, jump_s))
    assert clocks.netra_clock.health().problem
    clocks.say_for(3600, 0, every_s=30)
    assert near(clocks.shown_s(), 0, min(0, jump_s), max(0, jump_s))
    clocks.own_off(0)
    assert near(clocks.shown_s(), 0, 0, 0)
    assert not clocks.netra_clock.health().problem
    assert clocks.netra_clock.jumps == 0


@pytest.mark.parametrize("jump_s", JUMPS)
def test_both_jump_together(jump_s: int) -> None:
    """A machine that was suspended resumes with both clocks later; what both say is believed at the first answer."""
    clocks = agreed()
    clocks.own_off(jump_s)
    clocks.say(jump_s)
    assert near(clocks.shown_s(), jump_s, jump_s, jump_s)


@pytest.mark.parametrize("off_s", JUMPS)
def test_a_first_answer_that_disagrees(off_s: int) -> None:
    """Netra's first answer says what is new, and nothing that lasts goes further than both clocks."""
    clocks = TwoClocks()
    clocks.say(off_s)
    assert near(clocks.shown_s(), off_s, min(0, off_s), max(0, off_s))


def test_a_disagreement_is_logged_seldom(caplog: pytest.LogCaptureFixture) -> None:
    """One line a minute says which clock is ahead, and what to look at."""
    clocks = agreed()
    with caplog.at_level(logging.WARNING, "netra_otel_bridge"):
        clocks.say_for(59, DAY, every_s=1)
    (line,) = caplog.messages
    assert line.startswith("Netra's clock is 86")
    assert "ahead of this machine's" in line


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0, 0, 0, 5, -5, *JUMPS]), st.sampled_from([0, 0, 0, *JUMPS]), st.integers(0, 600)),
        max_size=40,
    )
)
def test_no_lasting_time_is_later_than_either_clock(steps: list[tuple[int, int, int]]) -> None:
    """Whatever both clocks say, ``safe_ns`` is no later than this machine's, nor than a time that Netra has told."""
    clocks = TwoClocks()
    told_ns = []
    for netra_off_s, own_off_s, passed_s in steps:
        clocks.own.elapsed_s += passed_s
        clocks.own_off(own_off_s)
        clocks.say(netra_off_s)
        told_ns.append(clocks.real_ns() + netra_off_s * NS_PER_S - int(clocks.own.elapsed_s * NS_PER_S))
        clock = clocks.netra_clock
        assert clock.safe_ns() <= clocks.own.now_ns() <= clock.latest_ns()
        assert clock.safe_ns() <= clock.now_ns() <= clock.latest_ns()
        assert clock.safe_ns() - int(clocks.own.elapsed_s * NS_PER_S) <= max(told_ns)
        disagrees = abs(netra_off_s - own_off_s) * NS_PER_S >= CLOCK_OFF_NS + NS_PER_S
        assert not disagrees or clock.health().problem
