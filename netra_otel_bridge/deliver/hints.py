"""What to do about an answer that holds or ends a lane, in a few words; "" where the reason itself says it."""

from __future__ import annotations

import re

_BUSY = re.compile(r"RESOURCE_EXHAUSTED|RATE_LIMITED|HTTP (408|425|429|503)")
_OF_OBJECTS = re.compile(r"(the callback|its send|the processor's force_flush)\b")
_ANSWERED = re.compile(r"HTTP \d{3}\b")
_CLIENT_ERROR = re.compile(r"HTTP 4\d\d\b")
_MISCONFIGURED = (
    (
        re.compile(r"local issuer|issuer certificate|self.signed", re.I),
        "OTEL_EXPORTER_OTLP_CERTIFICATE names the file of an authority to trust",
    ),
    (
        re.compile(r"has expired|not yet valid", re.I),
        "its certificate is not valid now: whoever runs it renews it, or a clock is wrong",
    ),
    (
        re.compile(r"mismatch|hostname verification|not in peer certificate|not valid for", re.I),
        "its certificate is for another host: use a name that is in it",
    ),
    (
        re.compile(r"CERTIFICATE_REQUIRED", re.I),
        "it wants a client certificate: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and _CLIENT_KEY name its files",
    ),
    (re.compile(r"^the exporter returned"), "its export must return a SpanExportResult"),
    (re.compile(r"^(its send returned|the callback returned|the processor is|whoever read)"), ""),
)


def of_retry(reason: str) -> str:
    """What to do when a destination does not take anything just now."""
    if _OF_OBJECTS.match(reason):
        return ""
    if _BUSY.search(reason):
        return "try again later"
    if _ANSWERED.match(reason):
        return "it answers, and fails: its own log says why"
    return "is it running, is this its address, does it want TLS?"


def of_misconfigured(reason: str) -> str:
    """What to do when what answers is not what was meant."""
    otherwise = "check the address, the protocol, grpc or http, and TLS"
    return next((hint for words, hint in _MISCONFIGURED if words.search(reason)), otherwise)


def of_refused(reason: str) -> str:
    """What is wrong where all spans are refused."""
    wants_header = ", or wants a header that OTEL_EXPORTER_OTLP_HEADERS can set" if _CLIENT_ERROR.match(reason) else ""
    return f"it does not take spans like these{wants_header}"
