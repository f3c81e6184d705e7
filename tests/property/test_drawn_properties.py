"""Whatever a recorded call has become, ``traces show`` draws it, prints it, and writes it as JSON."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netra_otel_bridge.cli.calls_json import calls_json
from netra_otel_bridge.cli.json_output import write_json
from netra_otel_bridge.convert import SpanConverter, read_spans
from netra_otel_bridge.core.model.netra import TraceSpan
from tests.property.test_llm_properties import damaged
from tests.property.test_outside_text_properties import acts
from tests.support.drawn import conversation, tree
from tests.support.examples import examples


@settings(max_examples=examples(300), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(damaged(), min_size=1, max_size=3), st.integers(1, 220), st.booleans())
def test_damaged_calls_are_shown(cases: list[tuple[TraceSpan, dict[str, Any]]], width: int, full: bool) -> None:
    """Nothing raises at any width, nothing printed acts on the terminal, and the document is JSON with all calls."""
    spans = [msgspec.structs.replace(source, attributes=columns) for source, columns in cases]
    for lines in (tree(*spans, width=width), conversation(*spans, width=width, full=full)):
        assert acts("".join(lines)) == []
    written = io.StringIO()
    with redirect_stdout(written):
        write_json({"calls": calls_json(read_spans(spans, SpanConverter("raw")))})
    assert acts(written.getvalue().replace("\n", "")) == []
    assert [call["span_id"] for call in json.loads(written.getvalue())["calls"]] == [span.id for span in spans]
