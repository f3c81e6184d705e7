"""Guess the outcome from an exporter's log, the only thing that a stock exporter says about a failure (ADR 0021)."""

from __future__ import annotations

import re

from netra_otel_bridge.core.model.outcome import Outcome
from netra_otel_bridge.deliver.answers import (
    BUSY,
    BUSY_HINT,
    FULL_TRACE,
    MAX_WORDS,
    TLS,
    TOO_LARGE,
    UNREACHABLE_HINT,
    Verdict,
    judged,
)

_WORDS: tuple[tuple[re.Pattern[str], Verdict], ...] = (
    (re.compile(r"Failed to encode span batch"), Verdict.REFUSED),
    (TOO_LARGE, Verdict.TOO_LARGE),
    (re.compile(r"RESOURCE_EXHAUSTED|RATE_LIMITED|LIVE_TRACES_EXCEEDED|too many requests|\b(429|503)\b", re.I), Verdict.RETRY),
    (re.compile(r"UNAUTHENTICATED|PERMISSION_DENIED|unauthorized|forbidden|\b(401|403)\b", re.I), Verdict.UNAUTHORIZED),
    (TLS, Verdict.MISCONFIGURED),
    (re.compile(r"UNIMPLEMENTED|redirect|\b(404|405)\b"), Verdict.MISCONFIGURED),
    (re.compile(r"UNAVAILABLE|DEADLINE_EXCEEDED|timed? ?out|refused|connection", re.I), Verdict.RETRY),
    (re.compile(r"INVALID_ARGUMENT|FAILED_PRECONDITION|\b(code|status)\W{1,3}400\b"), Verdict.REFUSED),
    (FULL_TRACE, Verdict.REFUSED),
)  # fmt: skip
"""Patterns in the order in which they count."""


def words_outcome(words: str) -> Outcome:
    """Return the outcome for an exporter's log, if nothing else is known; without a known pattern it is `Retry`."""
    words = words[:MAX_WORDS]
    verdict = next((verdict for pattern, verdict in _WORDS if pattern.search(words)), Verdict.RETRY)
    hint = "" if verdict is Verdict.REFUSED else BUSY_HINT if BUSY.search(words) else UNREACHABLE_HINT
    return judged(verdict, words, hint=hint)
