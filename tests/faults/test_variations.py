"""Variations on rows of the table of faults: other lengths, other counts, other moments."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_destination import FakeDestination, PartialSuccess
from tests.support.oracle import MS, happened, stored_by, written_to
from tests.support.rig import OnPage, Rig

pytestmark = pytest.mark.faults


def replay(rig: Rig) -> None:
    """Run a replay with a state; it must end well."""
    result = rig.replay(None, "--state", str(rig.state))
    assert result.code == 0, result.err


@pytest.mark.parametrize("kept", [1, 7, 99])
def test_pages_that_shrink(rig: Rig, kept: int) -> None:
    """Short pages of traces and spans that promise more lose nothing and repeat nothing."""
    rig.feed(150, 1)
    rig.feed(1, 150, start_ns=rig.oracle._start_ns + 10**13)

    def shrink(_: str, page: dict[str, Any]) -> None:
        if len(page["data"]["data"]) > kept:
            del page["data"]["data"][kept:]
            page["data"]["pageInfo"]["hasNextPage"] = True

    short = OnPage(shrink)
    rig.spoil(short)
    assert rig.replay().code == 0
    rig.oracle.assert_kept(written_to(rig.file))
    happened("pages in plenty", short.struck > 300 / kept)


@pytest.mark.parametrize("place", [0, 5, 11])
def test_an_item_that_is_omitted_once(rig: Rig, place: int) -> None:
    """A trace that one listing omits and the next one shows is delivered by the next run, and nothing else is."""
    hidden = rig.oracle.trace_ids[place]

    def hide(name: str, page: dict[str, Any]) -> None:
        if name == "traces":
            page["data"]["data"] = [item for item in page["data"]["data"] if item["id"] != hidden]

    once = OnPage(hide)
    rig.spoil(once)
    replay(rig)
    happened("a page with a gap", once.struck)
    verdict = rig.oracle.verdict(written_to(rig.file))
    assert {trace_id for trace_id, _ in verdict.missing} == {hidden}
    rig.spoil()
    replay(rig)
    rig.oracle.assert_kept(written_to(rig.file))


def test_spans_that_arrive_after_the_window_closed(rig: Rig) -> None:
    """A second replay of the range delivers late spans, changed spans and new traces, and nothing else."""
    replay(rig)
    first = len(written_to(rig.file))
    oracle = rig.oracle
    late = oracle.late(oracle.trace_ids[2], 2, after_ns=3000 * MS)
    changed = oracle.change([oracle.span_ids(oracle.trace_ids[7])[1]])
    new = oracle.traces(2, 3, start_ns=oracle.start_ns(oracle.span_ids(oracle.trace_ids[5])[0]) + MS)
    oracle.feed(rig.netra, [*late, *changed, *new])
    replay(rig)
    oracle.assert_kept(written_to(rig.file))
    assert len(written_to(rig.file)) == first + len(late) + len(changed) + len(new)


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize(
    ("said", "refused", "dead"), [(15, 15, 0), (16, 0, 16), (17, 0, 16), (10**12, 0, 16), (-1, 0, 0), (-(2**63), 0, 0)]
)
def test_partial_success_with_odd_counts(rig: Rig, transport: str, said: int, refused: int, dead: int) -> None:
    """If the server counts as many spans rejected as a batch has, or more, each is named; a negative count rejects
    none; none is sent again.
    """
    with FakeDestination() as fake:
        fake.script(PartialSuccess(said, "odd"))
        result = rig.replay(fake.grpc_url if transport == "grpc" else fake.http_url, NETRA_BRIDGE_BATCH_SPANS="16")
        rig.oracle.assert_kept(stored_by(fake.stored))
    (lane,) = result.json["destinations"]
    assert (lane["refused"], lane["dead_lettered"]) == (refused, dead)
    assert lane["delivered"] == len(rig.oracle) - refused - dead
    assert result.code == lane["exit"] == (3 if refused or dead else 0)
    assert "odd" in result.err
