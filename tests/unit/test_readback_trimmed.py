"""A span that the bridge trimmed for its destination is cut by the bridge, and nothing else hides behind that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.trace import Event, ReadableSpan

from netra_otel_bridge.core.attribute_names import NOTES
from netra_otel_bridge.core.model.converted import ConvertedSpan
from netra_otel_bridge.core.model.readback import Finding, StoreReport
from netra_otel_bridge.deliver.span_copy import with_content
from netra_otel_bridge.deliver.trim import trim, without_derived
from netra_otel_bridge.readback.verify import verify_store
from tests.support.fake_clock import FakeClock
from tests.support.scripted_store import Expected, ScriptedReader, expected_trace, request, sent_of
from tests.support.spans import make_span

DERIVED = ("gen_ai.input.messages", "llm.input_messages.0.content")


def converted(**attributes: Any) -> ReadableSpan:
    plain = make_span(
        1,
        attributes={"input": "x" * 4000, "short": "kept", **dict.fromkeys(DERIVED, "y" * 900), **attributes},
        events=[Event("e", {"prompt": "z" * 3000}, 5)],
    )
    attributes = dict(plain.attributes or {})
    span = with_content(plain, attributes, [one.attributes or {} for one in plain.events], [], plain.status)
    assert isinstance(span, ConvertedSpan)
    span.derived = DERIVED
    return span


def edited(span: ReadableSpan, **attributes: Any) -> ReadableSpan:
    """Return a copy with some attributes changed, and without those that are ``None``."""
    now = {key: value for key, value in ({**(span.attributes or {}), **attributes}).items() if value is not None}
    return with_content(span, now, [one.attributes or {} for one in span.events], [], span.status)


def verified(sent: ReadableSpan, stored: ReadableSpan) -> StoreReport:
    expected = expected_trace([sent])
    reader = ScriptedReader({expected.trace_id: request([stored])})
    return asyncio.run(verify_store(reader, Expected([expected]), sent_of([sent]), name="s", clock=FakeClock()))


def trimmed(span: ReadableSpan) -> ReadableSpan:
    lighter = without_derived(span, 100_000)
    assert lighter is not None
    shorter = trim(lighter, 5000)
    assert shorter is not None
    return shorter


def only(report: StoreReport) -> Finding:
    assert len(report.findings) == 1
    return report.findings[0]


def test_texts_that_the_bridge_shortened_are_cut_by_it() -> None:
    """Attributes and events are named, and the hint is about the destination's limit and the notes in the span."""
    span = converted()
    report = verified(span, trimmed(span))
    found = only(report)
    assert (report.cut, report.changed) == (1, 0)
    assert found.what.startswith("were cut by the bridge to fit what the destination accepts: ")
    assert '"input"' in found.what
    assert '"prompt" of an event' in found.what
    assert NOTES in found.hint


def test_derived_attributes_that_the_bridge_left_out_are_named() -> None:
    """They repeat what was recorded: the span is cut, and the finding says that nothing else was lost."""
    span = converted()
    lighter = without_derived(span, 1000)
    assert lighter is not None
    report = verified(span, lighter)
    assert report.cut == 1
    assert only(report).what == (
        "lack derived attributes, left out by the bridge to fit what the destination accepts: "
        '"gen_ai.input.messages", "llm.input_messages.*.content"'
    )


def test_notes_from_before_stay_notes() -> None:
    """A span that had notes of its conversion is trimmed like any other."""
    span = converted(**{NOTES: ("kept:as_text",)})
    assert verified(span, trimmed(span)).cut == 1


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"short": "other"}, "changed"),
        ({"short": None}, "changed"),
        ({"input": "x" * 100}, "cut"),
    ],
)
def test_what_the_store_did_beside_is_found(change: dict[str, Any], kind: str) -> None:
    """A trimmed span that the store cut or changed further counts as that, under the store's own finding."""
    span = converted()
    report = verified(span, edited(trimmed(span), **change))
    assert getattr(report, kind) == 1
    assert "by the bridge" not in only(report).what


def test_other_notes_in_a_trimmed_span_are_changes() -> None:
    """A note that the bridge did not add, or one from before that is gone, is a difference."""
    span = converted(**{NOTES: ("kept:as_text",)})
    stored = trimmed(span)
    notes = (stored.attributes or {})[NOTES]
    assert isinstance(notes, tuple)
    assert verified(span, edited(stored, **{NOTES: (*notes, "something else")})).changed == 1
    assert verified(span, edited(stored, **{NOTES: notes[1:]})).changed == 1


def test_derived_attributes_that_are_gone_without_a_note_are_changed() -> None:
    """Only the bridge's own notes explain what it left out."""
    span = converted()
    assert verified(span, edited(span, **{DERIVED[0]: None})).changed == 1
