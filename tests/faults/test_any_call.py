"""Any one call of a replay may fail, in any way: the rest is delivered, and the next replay delivers what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from netra_otel_bridge.emulator.faults import JSON, Answer, Call, Fault
from tests.support.oracle import happened, written_to
from tests.support.rig import running_rig

pytestmark = pytest.mark.faults

TRACES = 12
WAYS = {
    "500": Answer(500, b"{}"),
    "400": Answer(400, b'{"message": "no"}'),
    "403": Answer(403, b"{}"),
    "404": Answer(404, b"{}"),
    "429": Answer(429, b"{}"),
    "a redirect": Answer(302, b"", (("Location", "http://127.0.0.1:9/"),)),
    "a web page": Answer(200, b"<html>", (("Content-Type", "text/html"),)),
    "half of the JSON": Answer(200, b'{"data": {"data": [{"id": "'),
    "another shape": Answer(200, b'{"data": []}'),
    "items that are none": Answer(200, b'{"data": {"data": [1, 2], "pageInfo": {"hasNextPage": false}}}'),
    "an empty page that promises more": Answer(200, b'{"data": {"data": [], "pageInfo": {"hasNextPage": true}}}'),
    "an error in its own words": Answer(200, b'{"error": "broken"}', (("Content-Type", JSON),)),
}


class OneCall(Fault):
    """A fault of the call with this number, and of no other."""

    def __init__(self, number: int, answer: Answer) -> None:
        self.calls = 0
        self._number = number
        self._answer = answer

    def instead(self, _: Call, /) -> Answer | None:
        self.calls += 1
        return self._answer if self.calls == self._number else None


@pytest.mark.parametrize("way", WAYS)
def test_a_replay_in_which_any_one_call_fails(tmp_path: Path, way: str) -> None:
    """It says so by its exit code, or nothing is missing; the next replay sends exactly the rest."""
    with running_rig(tmp_path) as rig:
        rig.feed(TRACES, 2)
        number = 1
        while True:
            directory = tmp_path / str(number)
            directory.mkdir()
            rig.directory = directory
            fault = OneCall(number, WAYS[way])
            rig.spoil(fault)
            first = rig.replay(None, "--state", str(rig.state), NETRA_BRIDGE_ATTEMPTS="1")
            verdict = rig.oracle.verdict(written_to(rig.file))
            assert verdict.sound, f"call {number}: {verdict}"
            assert first.code in (0, 1, 3, 69, 75, 77, 78)
            assert not (verdict.missing and first.code == 0), f"call {number}: {verdict}"
            rig.spoil()
            second = rig.replay(None, "--state", str(rig.state))
            rig.oracle.assert_kept(written_to(rig.file))
            assert second.code == 0
            if fault.calls < number:
                break
            number += 1
    happened("calls that failed", number > TRACES)
