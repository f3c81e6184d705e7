"""Ask Netra how unproved spans differ from what was sent, and judge each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.trace import ReadableSpan

from netra_otel_bridge.core.attribute_names import NOTES
from netra_otel_bridge.core.errors import (
    ConfigurationError,
    NetraError,
    NetraNotFound,
    NetraRejected,
    NetraResponseTooLarge,
    NetraSchemaError,
    NotKnown,
    PaginationLoop,
)
from netra_otel_bridge.core.model.converted import ConvertedSpan
from netra_otel_bridge.core.outside_text import safe_line
from netra_otel_bridge.core.packed_checksums import unpack_spans
from netra_otel_bridge.core.threads import in_thread
from netra_otel_bridge.deliver.otlp.encode import checksum, encode_request, encode_span
from netra_otel_bridge.readback.compare import Difference, differences, reduced
from netra_otel_bridge.readback.expected import ExpectedTrace, SentSpans
from netra_otel_bridge.readback.proof import LARGE_BYTES, Proof, Returned
from netra_otel_bridge.readback.reader import AddsAttributes, StoreForm

CONCURRENCY = 8
"""Maximum traces that are asked for at once. The client of Netra has limits of its own."""
TRIMMED, DROPPED = "trimmed:", "dropped_derived:"
"""Beginnings of the notes that `deliver.trim` leaves in a span."""
GONE_FROM_NETRA = "differ from what was sent; how is not known, because Netra no longer has them"
CHANGED_IN_NETRA = "differ from what was sent, and from what Netra has now, with the settings of now"
NOBODY_ASKED = "differ from what was sent; how is not known, because Netra was not asked"
_Outcome = Literal["intact", "cut", "changed"]
_OF_ONE_TRACE = (NotKnown, NetraRejected, NetraSchemaError, NetraResponseTooLarge, PaginationLoop)
"""Errors that say nothing about the next trace."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgment on a stored span that its checksum does not prove.

    ``by_bridge`` are differences that the bridge made itself, to fit the span into what the destination accepts.
    ``unknown`` says why nothing is known about how the span differs, "" if it is known.
    """

    kind: _Outcome
    differences: Sequence[Difference] = ()
    by_bridge: Sequence[Difference] = ()
    unknown: str = ""


class Examiner:
    """Judges the unproved spans of one store."""

    def __init__(self, form: StoreForm, sent: SentSpans | None) -> None:
        self._form = form
        self._sent = sent
        self._unknown = NOBODY_ASKED if sent is None else ""
        self._slots = asyncio.Semaphore(CONCURRENCY)

    async def judge(self, trace: ExpectedTrace, proof: Proof) -> dict[int, Verdict]:
        """Judge every span in ``proof.unproved``.

        Raises a `NetraError`, or a `ConfigurationError` without ``sent``, only if the store does not keep all of a span, so
        that nothing is proved without Netra.
        """
        if not proof.unproved:
            return {}
        sent, unknown = await self._ask(trace.trace_id)
        if proof.size_bytes < LARGE_BYTES:
            return self._compare_all(trace, proof, sent, unknown)
        return await in_thread(self._compare_all, trace, proof, sent, unknown)

    def _compare_all(
        self, trace: ExpectedTrace, proof: Proof, sent: Mapping[int, ReadableSpan], unknown: str
    ) -> dict[int, Verdict]:
        checksums = unpack_spans(trace.spans)
        verdicts = {}
        for span_id, copies in proof.unproved.items():
            span = sent.get(span_id)
            if span is None:
                verdicts[span_id] = Verdict("changed", unknown=unknown or GONE_FROM_NETRA)
            else:
                verdicts[span_id] = self._compare(span, copies, checksums[span_id], with_carrier=bool(trace.carriers))
        return verdicts

    async def _ask(self, trace_id: str) -> tuple[Mapping[int, ReadableSpan], str]:
        """Return the spans of a trace as they were sent, or why they are not known.

        Once Netra fails for a reason that is not this trace, it is not asked again: each call may wait for minutes.
        """
        if self._sent is None and not self._form.keeps_all:
            raise ConfigurationError(
                "no span can be proved without Netra, because the store does not keep all of a span",
                hint="set NETRA_API_KEY",
            )
        async with self._slots:
            if self._sent is None or self._unknown:
                return {}, self._unknown
            try:
                return await self._sent.spans(trace_id), ""
            except (NetraError, NotKnown) as error:
                if isinstance(error, NotKnown) or _is_gone(error):
                    return {}, GONE_FROM_NETRA
                if isinstance(error, _OF_ONE_TRACE):
                    return {}, _not_asked(error)
                if not self._form.keeps_all:
                    raise
                self._unknown = _not_asked(error)
                return {}, self._unknown

    def _compare(self, span: ReadableSpan, copies: Sequence[Returned], expected: int, *, with_carrier: bool) -> Verdict:
        encoded = encode_span(span)
        resource_spans = TracesData.FromString(encode_request([span], [encoded])).resource_spans[0]
        scope_spans = resource_spans.scope_spans[0]
        original = Returned(resource_spans, scope_spans, scope_spans.spans[0])
        notes = _notes(scope_spans.spans[0].attributes)
        sent = reduced(self._form, original)
        verdicts = []
        for copy in copies:
            trimming = _Trimming(span, notes, _notes(copy.span.attributes))
            found = differences(self._form, sent, reduced(self._form, copy), with_carrier=with_carrier)
            if isinstance(self._form, AddsAttributes):
                found = [one for one in found if not _adds(self._form, one)]
            verdicts.append(_verdict(found, trimming))
        best = min(verdicts, key=lambda one: (_RANKS[one.kind], len(one.differences)))
        if best.kind == "changed" and checksum(encoded) != expected:
            return Verdict("changed", unknown=CHANGED_IN_NETRA)
        return best


_RANKS: dict[_Outcome, int] = {"intact": 0, "cut": 1, "changed": 2}


def _verdict(found: Iterable[Difference], trimming: _Trimming) -> Verdict:
    by_bridge: list[Difference] = []
    rest: list[Difference] = []
    for difference in found:
        (by_bridge if trimming.explains(difference) else rest).append(difference)
    if not rest and not by_bridge:
        return Verdict("intact")
    is_cut = all(difference.how == "cut" for difference in rest)
    return Verdict("cut" if is_cut else "changed", rest, by_bridge)


class _Trimming:
    """Knows from the notes in a copy what the bridge did to a span, to fit it into what the destination accepts.

    A span has notes on its first few texts and attributes only, so a note on any speaks for all.
    """

    def __init__(self, span: ReadableSpan, sent: set[str], returned: set[str]) -> None:
        new = returned - sent
        self._trimmed = any(note.startswith(TRIMMED) for note in new)
        self._dropped = any(note.startswith(DROPPED) for note in new)
        self._only_noted = sent <= returned and all(note.startswith((TRIMMED, DROPPED)) for note in new)
        self._derived = set(span.derived) if isinstance(span, ConvertedSpan) and self._dropped else set()

    def explains(self, difference: Difference) -> bool:
        """Return whether the bridge made this difference."""
        if difference.part == "attribute" and difference.key == NOTES:
            return self._only_noted and (self._trimmed or self._dropped)
        if difference.how == "cut":
            return self._trimmed and difference.change.marked
        return difference.part == "attribute" and difference.how == "gone" and difference.key in self._derived


def _adds(form: AddsAttributes, difference: Difference) -> bool:
    return difference.part == "attribute" and difference.how == "added" and form.adds(difference.key)


def _notes(attributes: Iterable[KeyValue]) -> set[str]:
    """Return the notes of the bridge in a span."""
    found = set[str]()
    for attribute in attributes:
        if attribute.key == NOTES:
            found.update(value.string_value for value in attribute.value.array_value.values)
            found.add(attribute.value.string_value)
    return found - {""}


def _is_gone(error: NetraError) -> bool:
    return error.status == (HTTPStatus.NOT_FOUND if isinstance(error, NetraNotFound) else HTTPStatus.GONE)


def _not_asked(error: Exception) -> str:
    return f"differ from what was sent; Netra could not be asked how: {safe_line(str(error))}"
