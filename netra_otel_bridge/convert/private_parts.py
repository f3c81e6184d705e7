"""Apply the privacy policy to what a span has beside attributes: columns, name, status, events, links, metadata.

The rest of the conversion sees only what is left, so no value that is derived later can carry what was dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

import msgspec
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.status import Status

from netra_otel_bridge.convert import semconv, shapes
from netra_otel_bridge.convert.allowed import counted_name
from netra_otel_bridge.convert.draft import ORIGINAL
from netra_otel_bridge.convert.effort import Effort
from netra_otel_bridge.convert.fields import instant_ns, is_known_kind
from netra_otel_bridge.convert.privacy import Privacy, count_dropped, count_name
from netra_otel_bridge.core.json_text import clean_text
from netra_otel_bridge.core.model.netra import TraceSpan, TraceSummary

_COLUMNS = {
    "session_id": "session.id",
    "user_id": "user.id",
    "tenant_id": "netra.tenant.id",
    "organisation_id": "netra.organisation.id",
    "project_id": "netra.project.id",
    "environment": "deployment.environment.name",
    "model_name": "gen_ai.request.model",
    "created_at": "netra.created_at",
}
"""Columns with text, and the names of attributes whose rules they follow."""
_SUMMARY_COLUMNS = {column: name for column, name in _COLUMNS.items() if column in TraceSummary.__struct_fields__} | {
    "service": "service.name"
}
_TIMES = ("start_time", "end_time")
_TEXTS = tuple(column for column in _COLUMNS if column != "created_at")
_texts_of = attrgetter(*_TEXTS)
_NOT_DERIVED_FROM = dict.fromkeys(("name", "status", "attributes", "events", "links", "metadata"))
_MAX_UNCHANGED = 1024
_MAX_UNCHANGED_CHARS = 1000
_FINDINGS = ("pii_entities", "pii_actions", "violations", "violation_actions")
_DOCUMENT_SCANNED_BYTES = 2**23
"""The limit of `Expression.replace` for the JSON of an unreadable item: it is redacted in the event loop, in 0.05 s."""
_DOCUMENT_DECODED_CHARS = 2**14
"""Characters of such JSON whose values are searched one by one too, in as much time."""
_METADATA = "netra.metadata."
_EVENT = "event"
_OWN_WORDS = frozenset(
    {"netra.span.type", "openinference.span.kind", "input.mime_type", "output.mime_type", "netra.created_at"}
)
"""Derived attributes that hold one of the bridge's own words, or a time."""
_OPERATIONS = frozenset(semconv.KIND_OF_OPERATION) | {"_OTHER"}
SPAN_NAME, EVENT_NAME, STATUS_MESSAGE = "(span name)", "(event name)", "(status message)"
"""Names under which drops are counted that have no key."""


class PrivateParts:
    """Applies one policy to the parts of spans; ``counts`` and ``dropped`` are those of `Privacy.apply`."""

    def __init__(self, privacy: Privacy, counts: Counter[str], dropped: Counter[str]) -> None:
        self._privacy = privacy
        self.counts = counts
        self._dropped = dropped
        self._unchanged: set[tuple[bool, tuple[str | None, ...]]] = set()
        self.effort: Effort | None = None
        """The time that expressions take; ``None`` does not bound it."""

    def attributes(self, attributes: Mapping[str, Any] | None, has_pii: bool) -> dict[str, Any]:
        """Return the attributes of a span, an event or a link that may leave."""
        given = dict(attributes or {})
        counts, dropped = self.counts, self._dropped
        return self._privacy.apply(given, has_pii=has_pii, counts=counts, dropped=dropped, effort=self.effort)

    def metadata(self, metadata: dict[str, Any], has_pii: bool) -> dict[str, Any]:
        """Return the metadata that may leave, by the names under which it would: ``netra.metadata.<key>``."""
        if not metadata:
            return metadata
        if self._privacy.user != "keep":
            metadata = self._privacy.without_users(metadata, self.counts, is_metadata=True)
        named = {_METADATA + key: value for key, value in metadata.items()}
        counts, dropped = self.counts, self._dropped
        left = self._privacy.without_content(named, has_pii=has_pii, counts=counts, dropped=dropped, effort=self.effort)
        return {key.removeprefix(_METADATA): value for key, value in left.items()}

    def columns(self, span: TraceSpan, has_pii: bool) -> TraceSpan:
        """Return the span with the columns that may leave as they may leave.

        It has no name, status, or column of JSON any more, except ``resources``, which are shared and have their own
        cache.
        """
        changed = dict(_NOT_DERIVED_FROM)
        texts = _texts_of(span)
        if (has_pii, texts) not in self._unchanged:
            changed |= self._changed(texts, has_pii)
        if type(span.created_at) is str and not shapes.instant(span.created_at):
            changed |= self._changed((span.created_at,), has_pii, ("created_at",))
        if self._privacy.content == "redact":
            for column in _FINDINGS:
                changed[column] = self._privacy.redacted(getattr(span, column), self.counts, self.effort)
        return msgspec.structs.replace(span, **changed)

    def _changed(
        self, texts: tuple[str | None, ...], has_pii: bool, columns: tuple[str, ...] = _TEXTS
    ) -> dict[str, str | None]:
        """Return the columns whose text may not leave as it is; remember texts that may, which many spans share."""
        given = {
            _COLUMNS[column]: clean_text(text) for column, text in zip(columns, texts, strict=True) if text is not None
        }
        left = self.attributes(given, has_pii)
        if left != given:
            return {column: left.get(_COLUMNS[column]) for column in columns}
        if sum(map(len, given.values())) <= _MAX_UNCHANGED_CHARS:
            if len(self._unchanged) >= _MAX_UNCHANGED:
                self._unchanged.clear()
            self._unchanged.add((has_pii, texts))
        return {}

    def summary(self, trace: TraceSummary) -> TraceSummary:
        """Return the summary of a trace with the columns that may leave, for the state."""
        has_pii = bool(trace.has_pii)
        columns = {column: name for column, name in _SUMMARY_COLUMNS.items() if getattr(trace, column) is not None}
        left = self.attributes({name: clean_text(getattr(trace, column)) for column, name in columns.items()}, has_pii)
        changed: dict[str, Any] = {column: left.get(name) for column, name in columns.items()}
        changed |= self._odd_columns(trace, has_pii)
        lists = dict.fromkeys(("models", "pii_entities", "violations", "cursor"))
        return msgspec.structs.replace(trace, name=self.name(trace.name, has_pii), **lists, **changed)

    def _odd_columns(self, trace: TraceSummary, has_pii: bool) -> dict[str, Any]:
        """Return the columns of a kind and of times that hold something else, as far as that may leave."""
        odd = {
            column: value
            for column in _TIMES
            if isinstance(value := getattr(trace, column), str) and instant_ns(value) is None
        }
        if isinstance(trace.kind, str) and not is_known_kind(trace.kind):
            odd["kind"] = trace.kind
        left = self.attributes({ORIGINAL + column: clean_text(value) for column, value in odd.items()}, has_pii)
        return {column: left.get(ORIGINAL + column) for column in odd}

    def document(self, text: str) -> str:
        """Return the JSON of an item that could not be read: it may have content and a user id anywhere."""
        policy = self._privacy
        if policy.content == "drop" or policy.user != "keep" or policy.pii != "keep" or policy.exceptions == "drop":
            return ""
        if policy.content != "redact":
            return text
        return policy.redacted_text(
            text,
            self.counts,
            max_scanned_bytes=_DOCUMENT_SCANNED_BYTES,
            decodes=len(text) <= _DOCUMENT_DECODED_CHARS,
        )

    def redact_derived(self, attributes: dict[str, Any], recorded: int) -> None:
        """Redact the attributes that were derived, which follow the first ``recorded`` ones: they may join texts."""
        derived = {name: attributes.pop(name) for name in [*attributes][recorded:]}
        for name, value in derived.items():
            if name in _OWN_WORDS or (type(value) is str and value in _OPERATIONS):
                attributes[name] = value
            else:
                attributes |= self._privacy.without_content(
                    {name: value}, has_pii=False, counts=self.counts, effort=self.effort
                )

    def name(self, name: str | None, has_pii: bool) -> str | None:
        """Return the name of a span that may leave; ``None`` if it is content."""
        if name and self._privacy.drops(has_pii) and shapes.span_name(clean_text(name)) is None:
            count_dropped([SPAN_NAME], self.counts, self._dropped)
            return None
        return self._redacted(name)

    def status(self, status: Status, has_pii: bool) -> Status:
        """Return the status, with the message that may leave."""
        message = status.description
        if not message:
            return status
        if self._privacy.drops_exceptions(has_pii):
            count_dropped([STATUS_MESSAGE], self.counts, self._dropped)
            return Status(status.status_code)
        return Status(status.status_code, self._redacted(message))

    def events(self, events: list[Event], has_pii: bool) -> list[Event]:
        """Return the events with the names and attributes that may leave."""
        return [
            Event(self._event_name(event.name, has_pii), self.attributes(event.attributes, has_pii), event.timestamp)
            for event in events
        ]

    def links(self, links: list[Link], has_pii: bool) -> list[Link]:
        """Return the links with the attributes that may leave."""
        return [Link(link.context, self.attributes(link.attributes, has_pii)) for link in links]

    def _event_name(self, name: str, has_pii: bool) -> str:
        if self._privacy.drops(has_pii) and shapes.token(name) is None:
            count_dropped([EVENT_NAME], self.counts, self._dropped)
            return _EVENT
        return self._redacted(name) or name

    def _redacted(self, text: str | None) -> str | None:
        redacts = text and self._privacy.content == "redact"
        return self._privacy.redacted_text(text, self.counts, self.effort) if text and redacts else text


def count_keys(spans: Iterable[ReadableSpan], inventory: Counter[str]) -> None:
    """Count the keys of spans as they would be sent, for a limited number of names: attributes, events, links, resource."""
    for span in spans:
        resource = (span.resource.attributes,) if span.resource is not None else ()
        held = (
            span.attributes,
            *resource,
            *(event.attributes for event in span.events),
            *(one.attributes for one in span.links),
        )
        for attributes in held:
            for key in attributes or ():
                count_name(counted_name(key), inventory)


def operation_name(attributes: Mapping[str, Any], netra_kind: str | None, kind: SpanKind) -> str:
    """Return what stands for a name that was dropped: the operation, else the kind in lower case."""
    recorded = attributes.get(semconv.OPERATION_NAME)
    if isinstance(recorded, str) and recorded:
        return recorded
    effective = semconv.effective_kind(netra_kind, dict(attributes))
    return semconv.OPERATION_OF_KIND.get(effective or "") or (netra_kind or kind.name).lower()


def _clean(value: Any) -> Any:
    return clean_text(value) if isinstance(value, str) else value
