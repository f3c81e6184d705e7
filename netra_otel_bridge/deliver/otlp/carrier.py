"""Checksums of carriers: the resource and the scope around a span, with their schema URLs.

`carrier_checksum` is for what is sent, `received_carrier_checksum` for what a store returns. Both are equal unless the
content differs; the order of attributes does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING
from zlib import crc32

from netra_otel_bridge.deliver.otlp.encode import key_value, utf8, varint

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

_TAG = b"\x0a"
_MAX_KEPT = 4096
_kept: dict[tuple[int, int], tuple[Resource, InstrumentationScope | None, int]] = {}
"""Checksums by the identities of both objects, which are kept, so that no other object gets their identity."""


def carrier_checksum(resource: Resource, scope: InstrumentationScope | None) -> int:
    """Return a CRC-32 of a carrier. It is computed once for each pair of objects.

    Raises ``TypeError`` for an attribute that OTLP cannot express.
    """
    key = id(resource), id(scope)
    known = _kept.get(key)
    if known is not None:
        return known[2]
    checksum = _checksum(
        [(utf8(name), key_value(_TAG, name, value)) for name, value in resource.attributes.items()],
        resource.schema_url,
        scope.name if scope is not None else "",
        (scope.version if scope is not None else "") or "",
        [(utf8(name), key_value(_TAG, name, value)) for name, value in ((scope and scope.attributes) or {}).items()],
        (scope.schema_url if scope is not None else "") or "",
    )
    if len(_kept) >= _MAX_KEPT:
        _kept.clear()
    _kept[key] = resource, scope, checksum
    return checksum


def received_carrier_checksum(resource_spans: ResourceSpans, scope_spans: ScopeSpans) -> int:
    """Return the CRC-32 of the carrier of the spans in ``scope_spans``, which is one of ``resource_spans``."""
    return _checksum(
        map(_received, resource_spans.resource.attributes),
        resource_spans.schema_url,
        scope_spans.scope.name,
        scope_spans.scope.version,
        map(_received, scope_spans.scope.attributes),
        scope_spans.schema_url,
    )


def _received(attribute: KeyValue) -> tuple[bytes, bytes]:
    body = attribute.SerializeToString()
    return utf8(attribute.key), b"%b%b%b" % (_TAG, varint(len(body)), body)


def _checksum(
    resource: Iterable[tuple[bytes, bytes]],
    resource_url: str,
    name: str,
    version: str,
    scope: Iterable[tuple[bytes, bytes]],
    scope_url: str,
) -> int:
    """Return the CRC-32 of attributes, which are given as encoded keys and fields, sorted by key, and of texts."""
    parts = (
        b"".join(field for _, field in sorted(resource)),
        utf8(resource_url),
        utf8(name),
        utf8(version),
        b"".join(field for _, field in sorted(scope)),
        utf8(scope_url),
    )
    return crc32(b"\0".join(parts))
