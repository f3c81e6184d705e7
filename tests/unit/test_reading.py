"""What a lane does with traces that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from netra_otel_bridge import AsyncNetraClient, Bridge, Named, NetraResponseTooLarge, dead_letters
from netra_otel_bridge.emulator import EmulatorOptions
from tests.support.emulator import running_emulator

KEY = "nk-reading"


@pytest.mark.parametrize("state", [True, False])
def test_a_trace_that_is_too_large_to_read_stops_no_other(
    state: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted, named, and kept as a dead letter where there is a state; all others are delivered."""
    read = AsyncNetraClient.list_spans_by_trace_id
    got: list[Any] = []
    with running_emulator(EmulatorOptions(port=0, seed=5, traces=12, spans_per_trace=4, api_key=KEY)) as netra:
        settings: dict[str, Any] = {"state": str(tmp_path / "state")} if state else {}
        bridge = Bridge(environ={}, endpoint=netra.endpoint, api_key=KEY, **settings)
        with bridge.client() as client:
            large = next(client.iter_traces("2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z")).id

        async def list_spans(self: AsyncNetraClient, trace_id: str, *args: Any) -> Any:
            if trace_id == large:
                raise NetraResponseTooLarge("more than the cap")
            return await read(self, trace_id, *args)

        monkeypatch.setattr(AsyncNetraClient, "list_spans_by_trace_id", list_spans)
        report = bridge.replay(Named("kept", got.extend), since="30d").destinations[0]
    assert len(got) == report.delivered == 11 * 4
    assert (report.unreadable, report.exit_code) == (1, 3)
    assert any(large in problem and "more than the cap" in problem for problem in report.problems)
    if state:
        assert len(list(dead_letters(tmp_path / "state"))) == 1
