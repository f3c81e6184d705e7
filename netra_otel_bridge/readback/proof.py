"""Prove one trace from checksums: compare what a store returned with the checksums of what was sent.

bytes -> spans and carriers -> checksums right?                                   -> intact
                               no -> parse, undo what the store does, again       -> intact
                                     no                                           -> unproved: `compare` says how it differs

A store that writes fields in another order than ours has its bytes written anew before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from netra_otel_bridge.core.errors import DestinationUnavailable
from netra_otel_bridge.core.packed_checksums import unpack_carriers, unpack_spans
from netra_otel_bridge.deliver.otlp.carrier import received_carrier_checksum
from netra_otel_bridge.readback.checksums import CarrierChecksums, bytes_checksum, matches
from netra_otel_bridge.readback.expected import ExpectedTrace
from netra_otel_bridge.readback.reader import TraceReader
from netra_otel_bridge.readback.wire import SpanGroup, UnusualForm, parse_traces, rewritten_groups, span_groups

LARGE_BYTES = 1_000_000
"""A trace from this size on is proved and compared in a thread, so that other answers do not wait for it."""
_TRACE_ID, _SPAN_ID = b"\x0a\x10", b"\x12\x08"
"""The tags and lengths of the ids at the start of a span."""


class Returned(NamedTuple):
    """A copy of a span that a store returned, restored, and the messages that it is in."""

    resource_spans: ResourceSpans
    scope_spans: ScopeSpans
    span: Span


@dataclass(slots=True)
class Proof:
    """The spans that a store returned for an expected trace, compared with its checksums.

    Each expected span is in one of ``intact``, ``unproved`` (with all its copies) and ``absent``. ``duplicated`` has the
    number of further copies of a span; ``unlike`` are the duplicated spans whose copies differ. ``foreign`` spans were
    not expected. ``size_bytes`` is the size of the whole trace.
    """

    size_bytes: int
    intact: set[int] = field(default_factory=set)
    unproved: dict[int, list[Returned]] = field(default_factory=dict)
    absent: list[int] = field(default_factory=list)
    duplicated: dict[int, int] = field(default_factory=dict)
    unlike: set[int] = field(default_factory=set)
    foreign: set[int] = field(default_factory=set)


class Prover:
    """Proves traces of one store."""

    def __init__(self, reader: TraceReader) -> None:
        self._reader = reader
        self._carriers = CarrierChecksums()
        self._cut: Callable[[bytes], list[SpanGroup]] = span_groups

    def prove(self, data: bytes, trace: ExpectedTrace) -> Proof:
        """Compare ``data``, which `TraceReader.read` returned, with a trace.

        Raises a `DestinationError` for bytes that are no protobuf of ``TracesData``.
        """
        checksums = unpack_spans(trace.spans)
        proof = Proof(len(data))
        if not data:
            proof.absent = list(checksums)
            return proof
        carriers = unpack_carriers(checksums, trace.carriers) or None
        for cut in dict.fromkeys((self._cut, rewritten_groups)):
            try:
                if self._prove_bytes(cut(data), checksums, carriers, proof):
                    return proof
                break
            except UnusualForm:
                self._cut = rewritten_groups
                proof = Proof(len(data), intact=proof.intact)
            except (DecodeError, UnicodeDecodeError):
                break
        proof = Proof(len(data), intact=proof.intact)
        self._prove_messages(data, checksums, carriers, trace.trace_id, proof)
        return proof

    def _prove_bytes(
        self, groups: list[SpanGroup], checksums: dict[int, int], carriers: Mapping[int, int] | None, proof: Proof
    ) -> bool:
        """Find intact spans by the bytes alone; return whether all spans are, and ``proof`` is complete.

        Raises `UnusualForm` for a span that does not begin with its ids.
        """
        intact, seen = proof.intact, dict[int, tuple[int, int]]()
        for carrier, spans in groups:
            around = self._carriers.of(carrier)
            for encoded in spans:
                if encoded[:2] != _TRACE_ID or encoded[18:20] != _SPAN_ID:
                    raise UnusualForm
                span_id = int.from_bytes(encoded[20:28])
                expected = checksums.get(span_id)
                if expected is None:
                    proof.foreign.add(span_id)
                    continue
                found = bytes_checksum(encoded)
                if found == expected and (carriers is None or carriers[span_id] == around):
                    intact.add(span_id)
                if span_id not in seen:
                    seen[span_id] = found, around
                    continue
                proof.duplicated[span_id] = proof.duplicated.get(span_id, 0) + 1
                if seen[span_id] != (found, around):
                    proof.unlike.add(span_id)
        return len(intact) == len(checksums)

    def _prove_messages(
        self, data: bytes, checksums: dict[int, int], carriers: Mapping[int, int] | None, trace_id: str, proof: Proof
    ) -> None:
        """Find intact spans among the restored messages, and keep the others to be compared."""
        try:
            traces = parse_traces(data)
        except UnusualForm:
            raise DestinationUnavailable(
                f"{self._reader.at} answered the question for trace {trace_id} with bytes that are no OTLP protobuf",
                hint="check that the address is that of the store itself, and ask again",
            ) from None
        self._reader.form.restore(traces)
        copies: dict[int, list[Returned]] = {}
        for resource_spans in traces.resource_spans:
            for scope_spans in resource_spans.scope_spans:
                around = received_carrier_checksum(resource_spans, scope_spans)
                for span in scope_spans.spans:
                    span_id = int.from_bytes(span.span_id)
                    expected = checksums.get(span_id)
                    if expected is None:
                        proof.foreign.add(span_id)
                        continue
                    copies.setdefault(span_id, []).append(Returned(resource_spans, scope_spans, span))
                    is_right = carriers is None or carriers[span_id] == around
                    if is_right and span_id not in proof.intact and matches(span, expected):
                        proof.intact.add(span_id)
        for span_id in checksums:
            found = copies.get(span_id, [])
            if len(found) > 1:
                proof.duplicated[span_id] = len(found) - 1
                if len({_content(one) for one in found}) > 1:
                    proof.unlike.add(span_id)
            if span_id in proof.intact:
                continue
            if found:
                proof.unproved[span_id] = found
            else:
                proof.absent.append(span_id)


def _content(copy: Returned) -> tuple[bytes, int]:
    """Return the encoding of a span without its flags, and the checksum of its carrier."""
    copy.span.ClearField("flags")
    return copy.span.SerializeToString(), received_carrier_checksum(copy.resource_spans, copy.scope_spans)
