"""Convert a Netra span to an OpenTelemetry ``ReadableSpan``, by the rules of ``docs/mapping.md``.

What the application recorded is preserved; the bridge only adds. Nothing here does I/O, reads a clock, or raises on
data: values that OpenTelemetry cannot express are kept as text under ``netra.bridge.original.*``, named in
``netra.bridge.notes`` and counted in `SpanConverter.counts`. Those two are the only attributes that profile ``raw``
adds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link
from opentelemetry.trace.status import Status, StatusCode

from netra_otel_bridge.convert import fields, semconv
from netra_otel_bridge.convert.attributes import (
    Attributes,
    as_double,
    attributes_of,
    events_of,
    links_of,
    read_container,
)
from netra_otel_bridge.convert.draft import Draft, contexts, kinds, times
from netra_otel_bridge.convert.effort import Effort
from netra_otel_bridge.convert.llm import Call, add_genai, add_openinference, read_call
from netra_otel_bridge.convert.netra_names import add_netra_names
from netra_otel_bridge.convert.odd_values import OddValues
from netra_otel_bridge.convert.privacy import Privacy, one_of
from netra_otel_bridge.convert.private_call import redacted_call
from netra_otel_bridge.convert.private_parts import PrivateParts, operation_name
from netra_otel_bridge.convert.resources import ResourceCache, scope_of
from netra_otel_bridge.convert.semconv import add
from netra_otel_bridge.core.attribute_names import NOTES
from netra_otel_bridge.core.errors import UsageError
from netra_otel_bridge.core.json_text import clean_text
from netra_otel_bridge.core.model.converted import ConvertedSpan
from netra_otel_bridge.core.model.netra import JsonText, TraceSpan, TraceSummary
from netra_otel_bridge.core.outside_text import error_line

Profile = Literal["raw", "genai", "openinference", "both"]

_OK, _ERROR = StatusCode.OK, StatusCode.ERROR
_UNSET_STATUS, _OK_STATUS = Status(StatusCode.UNSET), Status(_OK)


class SpanConverter:
    """Converts spans under one profile and privacy policy; ``counts`` has the number of notes and drops by kind.

    ``dropped`` has the number of drops by the attribute's name, for a limited number of names, and never a value. One instance serves any number of traces, and shares one ``Resource`` per distinct content. It is not thread-safe.
    Raises `UsageError` for an unknown profile or an invalid policy.
    """

    def __init__(self, profile: Profile = "genai", privacy: Privacy | None = None, *, usage_cost: bool = False) -> None:
        one_of("profile", profile, Profile)
        if not isinstance(privacy, Privacy | None):
            raise UsageError(f"privacy is of type {type(privacy).__name__}", hint="give a Privacy(...)")
        self.profile = profile
        self.privacy = privacy or Privacy()
        self.usage_cost = usage_cost
        self.counts: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self._keeps_all = (self.privacy.keeps_all(has_pii=False), self.privacy.keeps_all(has_pii=True))
        self._parts = PrivateParts(self.privacy, self.counts, self.dropped)
        self._genai = profile in ("genai", "both")
        self._openinference = profile in ("openinference", "both")
        self._resources = ResourceCache(enriched=profile != "raw", openinference=self._openinference, parts=self._parts)
        self._odd = OddValues(as_text=profile != "raw")
        self._effort: Effort | None = None

    def convert_trace(self, trace: TraceSummary | None, spans: Sequence[TraceSpan]) -> list[ReadableSpan]:
        """Convert the spans of one trace, in order. Counts parents missing from the trace (``parent_missing``)."""
        self.begin_trace(spans)
        return [self.convert(span, trace) for span in spans]

    @property
    def searches(self) -> bool:
        """Return whether the policy searches in texts, which may take much longer than the rest of a conversion."""
        return self.privacy.content == "redact"

    def limit_searches(self, cpu_s: Callable[[], float]) -> None:
        """Bound the processor time for searches in a span and in a trace; ``cpu_s`` returns that of the calling thread."""
        if self.searches:
            self._effort = self._parts.effort = Effort(cpu_s)

    def begin_trace(self, spans: Sequence[TraceSpan]) -> None:
        """Begin with a trace, whose spans are then converted one by one: count the parents that it lacks."""
        if self._effort is not None and spans:
            self._effort.forget(spans[0].trace_id)
        own = {span.id for span in spans}
        parents = [span.parent_span_id for span in spans if span.parent_span_id not in own]
        missing = [parent for parent in parents if parent is not None and not fields.is_no_id(parent)]
        if missing:
            ids = set(map(fields.span_id_value, own))
            self.counts["parent_missing"] += sum(fields.span_id_value(parent) not in ids for parent in missing)

    def convert(self, span: TraceSpan, trace: TraceSummary | None = None) -> ReadableSpan:
        """Convert one span.

        ``trace`` is its summary, used for values that the span lacks (``service``, a missing start).
        """
        if self._effort is not None:
            self._effort.begin(span.trace_id)
        draft = Draft()
        own = self._object(draft, "attributes", span.attributes)
        draft.attributes = {**own, **draft.attributes} if draft.attributes else own
        if span.unreadable:
            draft.notes += [f"unreadable:{name}" for name in span.unreadable]
        context, parent = contexts(draft, span)
        start_ns, end_ns = times(draft, span, trace)
        kind, netra_kind = kinds(draft, span)
        events = self._events(draft, span.events, start_ns)
        links = self._links(draft, span.links)
        status = self._status(draft, span, events)
        metadata = self._metadata(draft, span.metadata) if self.profile != "raw" and span.metadata else {}

        private, name = draft.attributes, span.name
        has_pii = bool(span.has_pii)
        if not self._keeps_all[has_pii]:
            private, name = self._parts.attributes(private, has_pii), self._parts.name(name, has_pii)
            metadata = self._parts.metadata(metadata, has_pii)
            events, links = self._parts.events(events, has_pii), self._parts.links(links, has_pii)
            status = self._parts.status(status, has_pii)
            span = msgspec.structs.replace(self._parts.columns(span, has_pii), name=name)
            if name is None:
                name = operation_name(private, netra_kind, kind)
        scope = scope_of(private)
        derived: Sequence[str] = ()
        if self.profile != "raw":
            recorded = len(private)
            derived = self._enrich(draft.notes, private, span, netra_kind, status, events, metadata)
            if self.searches:
                self._parts.redact_derived(private, recorded)
                derived = [*private][len(private) - len(derived) :]
        resource = self._resource(span, trace)
        if self._effort is not None:
            self._effort.end()
            if self._effort.is_spent:
                draft.notes.append("redaction_cut_short")
        if self._odd.found:
            draft.notes += self._odd_notes(private, events, links, metadata)
        if draft.notes:
            self.counts.update(note.partition(":")[0] for note in draft.notes)
            add(private, NOTES, tuple(draft.notes))
        converted = ConvertedSpan(
            name=clean_text(name) if name is not None else "",
            context=context,
            parent=parent,
            resource=resource,
            attributes=private,
            events=events,
            links=links,
            kind=kind,
            status=status,
            start_time=start_ns,
            end_time=end_ns,
            instrumentation_scope=scope,
        )
        converted.derived = derived
        return converted

    def private_call(self, call: Call) -> Call:
        """Return what was read of a call, with its texts as they may leave: they may join texts that were recorded."""
        return redacted_call(call, self.privacy, self.counts, self._effort) if self.searches else call

    def failure(self, error: Exception) -> str:
        """Return why a span could not be converted. The words of an error may repeat content, so a policy leaves its type."""
        return error_line(error) if self.privacy.keeps_all(has_pii=True) else type(error).__name__

    def private_document(self, text: str) -> str:
        """Return the JSON of an item that could not be read, as far as the policy lets it be stored."""
        return self._parts.document(text)

    def private_summary(self, trace: TraceSummary) -> TraceSummary:
        """Return the summary of a trace, as far as the policy lets it be stored."""
        return trace if self.privacy.keeps_all(bool(trace.has_pii)) else self._parts.summary(trace)

    def _object(self, draft: Draft, column: str, value: JsonText | None) -> Attributes:
        decoded, readable = read_container(value)
        attributes = attributes_of(decoded, self._odd) if readable else None
        if attributes is None:
            draft.keep(column, value, f"{column}_unreadable")
            return {}
        return attributes

    def _metadata(self, draft: Draft, column: JsonText) -> Attributes:
        self._odd.where = "metadata."
        metadata = self._object(draft, "metadata", column)
        self._odd.where = ""
        return metadata

    def _events(self, draft: Draft, column: JsonText | None, start_ns: int) -> list[Event]:
        decoded, readable = read_container(column)
        if readable and not decoded:
            return []
        self._odd.where = "events."
        events, lost = events_of(decoded, start_ns, self._odd) if readable else ([], 1)
        self._odd.where = ""
        if lost:
            draft.keep("events", column, "events_unreadable")
        return events

    def _links(self, draft: Draft, column: JsonText | None) -> list[Link]:
        decoded, readable = read_container(column)
        if readable and not decoded:
            return []
        self._odd.where = "links."
        links, lost, derived = links_of(decoded, self._odd) if readable else ([], 1, 0)
        self._odd.where = ""
        if lost:
            draft.keep("links", column, "links_dropped")
        if derived:
            draft.keep("links", column, "link_ids_derived")
        return links

    def _status(self, draft: Draft, span: TraceSpan, events: Iterable[Event]) -> Status:
        code, message = fields.status(span.status)
        if code is None:
            draft.keep("status", span.status, "status_unknown")
        reported = span.status not in (None, "") and code is not None
        if span.has_error and (self.profile != "raw" or not reported):
            code = _ERROR
        if code is _ERROR:
            if self.profile != "raw" and not message:
                message = error_message(draft.attributes, events)
            return Status(_ERROR, clean_text(message) if message else None)
        if message:
            draft.keep("status", span.status, "status_message_without_error")
        return _OK_STATUS if code is _OK else _UNSET_STATUS

    def _odd_notes(
        self, attributes: Attributes, events: Iterable[Event], links: Iterable[Link], metadata: Attributes
    ) -> list[str]:
        """Return the notes about odd values, but for those that the privacy policy dropped."""
        kept = {*attributes, *(f"metadata.{key}" for key in metadata)}
        for where, holders in (("events.", events), ("links.", links)):
            kept.update(where + key for holder in holders for key in holder.attributes or ())
        return self._odd.take_notes(kept)

    def _enrich(
        self,
        notes: list[str],
        attributes: Attributes,
        span: TraceSpan,
        netra_kind: str | None,
        status: Status,
        events: Sequence[Event],
        metadata: Attributes,
    ) -> Sequence[str]:
        """Add Netra's names, then those of the profile. Return the keys of the latter."""
        user_id = clean_text(span.user_id) if span.user_id else None
        try:
            call = read_call(attributes, span, netra_kind, events, span.name or "")
        except Exception as error:  # noqa: BLE001  whatever a call looks like, what was recorded of it leaves
            call = Call({}, notes=(_unreadable(error),))
        total = call.facts.get("total_tokens")
        add_netra_names(attributes, span, netra_kind, user_id=user_id, metadata=metadata, total_tokens=total)
        notes += call.notes
        recorded = len(attributes)
        try:
            self._write_call(attributes, call, span, status, events, metadata)
        except Exception as error:  # noqa: BLE001  as above
            for key in [*attributes][recorded:]:
                del attributes[key]
            notes.append(_unreadable(error))
        return [*attributes][recorded:]

    def _write_call(
        self,
        attributes: Attributes,
        call: Call,
        span: TraceSpan,
        status: Status,
        events: Sequence[Event],
        metadata: Attributes,
    ) -> None:
        failed = status.status_code is _ERROR
        if self._genai:
            add_genai(attributes, call, failed=failed)
            if self.usage_cost:
                add(attributes, semconv.USAGE_COST, as_double(span.total_cost))
            if failed:
                add(attributes, semconv.ERROR_TYPE, _exception(events, "exception.type") or "_OTHER")
        if self._openinference:
            with_tenant = {**metadata, **({"tenant_id": span.tenant_id} if span.tenant_id else {})}
            add_openinference(attributes, call, span, metadata=with_tenant)

    def _resource(self, span: TraceSpan, trace: TraceSummary | None) -> Resource:
        resource, lost = self._resources.get(span, trace.service if trace else None)
        if lost:
            self.counts["resources_unreadable"] += 1
        return resource


def _unreadable(error: Exception) -> str:
    """Return the note about a defect of the bridge. The words of the error may repeat content."""
    return f"call_unreadable:{type(error).__name__}"


def error_message(attributes: Attributes, events: Iterable[Event]) -> str | None:
    """Return the words of an error that Netra's SDK or an exception recorded."""
    recorded = attributes.get("netra.error_message")
    return recorded if isinstance(recorded, str) and recorded else _exception(events, "exception.message")


def _exception(events: Iterable[Event], key: str) -> str | None:
    for event in events:
        value = (event.attributes or {}).get(key)
        if isinstance(value, str) and value:
            return value
    return None
