"""Share one ``Resource`` and one scope per distinct content.

An exporter is much faster if it hashes and encodes each only once.
"""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from netra_otel_bridge.convert.attributes import Attributes, attributes_of, read_container
from netra_otel_bridge.convert.llm.openinference import PROJECT_NAME
from netra_otel_bridge.convert.odd_values import OddValues
from netra_otel_bridge.convert.private_parts import PrivateParts
from netra_otel_bridge.core.attribute_names import NOTES
from netra_otel_bridge.core.json_text import clean_text, write_json
from netra_otel_bridge.core.model.netra import JsonText, TraceSpan

ORIGINAL_RESOURCES = "netra.bridge.original.resources"
_MAX_RESOURCES = 4096


class SharedResource(Resource):
    """A resource with a cached hash; the SDK's resource encodes itself as JSON each time it is hashed.

    It also keeps attribute values as they were recorded (bytes, nested values), which the SDK drops before 1.42.
    """

    def __init__(self, attributes: Attributes) -> None:
        super().__init__({})
        self._attributes = MappingProxyType(attributes)  # type: ignore[assignment]  # read-only, like BoundedAttributes
        self._hash = hash(write_json(sorted((key, str(value)) for key, value in attributes.items())))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)


class ResourceCache:
    """Caches resources by their content. ``enriched`` adds Netra's columns, ``openinference`` the project's name.

    ``parts`` applies the privacy policy to resources too, and counts once for each distinct resource.
    """

    def __init__(self, *, enriched: bool, openinference: bool, parts: PrivateParts) -> None:
        self._enriched = enriched
        self._openinference = openinference
        self._parts = parts
        self._known: dict[tuple[object, ...], tuple[SharedResource, bool]] = {}

    def get(self, span: TraceSpan, service: str | None) -> tuple[SharedResource, bool]:
        """Return the resource of a span whose trace names ``service``, and whether its column was unreadable."""
        column = span.resources if isinstance(span.resources, str | None) else write_json(span.resources)
        key = (column, span.environment, span.organisation_id, span.project_id, service)
        found = self._known.get(key)
        if found is None:
            found = self._build(column, span, service)
            if self._parts.effort is not None and self._parts.effort.is_spent:
                return found  # redacted more than other spans of it have to be
            if len(self._known) >= _MAX_RESOURCES:
                self._known.clear()
            self._known[key] = found
        return found

    def _build(self, column: JsonText | None, span: TraceSpan, service: str | None) -> tuple[SharedResource, bool]:
        decoded, readable = read_container(column)
        odd = OddValues(as_text=self._enriched)
        recorded = attributes_of(decoded, odd) if readable else None
        attributes: Attributes = {ORIGINAL_RESOURCES: clean_text(str(column))} if recorded is None else dict(recorded)
        attributes = self._parts.attributes(attributes, has_pii=False)
        if notes := odd.take_notes(attributes):
            self._parts.counts.update(note.partition(":")[0] for note in notes)
            attributes.setdefault(NOTES, tuple(notes))
        if self._enriched:
            nested = decoded.get("service") if isinstance(decoded, dict) else None
            named = nested.get("name") if isinstance(nested, dict) else None
            service = named if isinstance(named, str) and named else service
            columns = (
                ("service.name", service),
                ("netra.organisation.id", span.organisation_id),
                ("netra.project.id", span.project_id),
                ("deployment.environment.name", span.environment),
                (PROJECT_NAME, span.project_id if self._openinference else None),
            )
            added = {name: clean_text(value) for name, value in columns if value}
            for name, value in self._parts.attributes(added, has_pii=False).items():
                attributes.setdefault(name, value)
            attributes.setdefault("service.name", "netra")
        return SharedResource(attributes), recorded is None


def scope_of(recorded: Attributes) -> InstrumentationScope:
    """Return the scope that a span's attributes name: the instrumentation, and the version of Netra's SDK."""
    name, version = recorded.get("netra.instrumentation.name"), recorded.get("library.version")
    return _scope(name if isinstance(name, str) else "", version if isinstance(version, str) else "")


@lru_cache(maxsize=1000)
def _scope(name: str, version: str) -> InstrumentationScope:
    return InstrumentationScope(f"netra.instrumentation.{name}" if name else "netra", version or None)
