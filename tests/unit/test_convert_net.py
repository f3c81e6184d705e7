"""Whatever goes wrong while a call is read or written, what was recorded of the span leaves."""

from __future__ import annotations

from typing import Any

import pytest

from netra_otel_bridge.convert import spans
from netra_otel_bridge.core.attribute_names import NOTES
from tests.support.converted import attributes, convert

RECORDED = {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "Hello", "gen_ai.request.model": "m"}


@pytest.mark.parametrize("broken", ["read_call", "add_genai", "add_openinference"])
def test_a_defect_of_the_bridge_costs_only_what_it_would_add(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The span has its recorded attributes, Netra's columns and a note, and nothing half written."""

    def fails(*_: Any, **__: Any) -> None:
        raise KeyError("content")

    monkeypatch.setattr(spans, broken, fails)
    found = attributes(convert("both", kind="GENERATION", tenant_id="t-1", attributes=RECORDED))
    assert RECORDED.items() <= found.items()
    assert found["netra.tenant.id"] == "t-1"
    assert found[NOTES] == ("call_unreadable:KeyError",)
    assert not [key for key in found if key.startswith(("llm.", "gen_ai.input", "gen_ai.usage"))]
