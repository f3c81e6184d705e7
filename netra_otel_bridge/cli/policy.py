"""Say in words what the privacy policy keeps. No function shows a value of a span."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

from netra_otel_bridge.cli.output import out
from netra_otel_bridge.config.settings import Settings
from netra_otel_bridge.core.model.report import KeptKeys
from netra_otel_bridge.core.outside_text import escaped

UNKEYED = (
    "user: hash has no key: whoever has a list of user ids can compute their hashes and recognize them; set "
    "user_hash_key or user_hash_key_file"
)
_log = logging.getLogger(__name__)


def warn(settings: Settings) -> None:
    """Log a warning if hashes of user ids can be recognized."""
    if is_unkeyed(settings):
        _log.warning(UNKEYED)


def is_unkeyed(settings: Settings) -> bool:
    """Return whether user ids are hashed without a key."""
    return settings.user == "hash" and settings.user_hash_key is None


def kept_namespaces() -> dict[str, int]:
    """Return how many names of facts a drop keeps, by namespace."""
    from netra_otel_bridge.convert.allowed import FACTS, MEASURED

    counts = Counter(name.partition(".")[0] for name in FACTS)
    counts.update(f"{beginning}*" for beginning in MEASURED)
    return dict(sorted(counts.items()))


def lines(settings: Settings) -> list[str]:
    """Return what the policy keeps, one sentence a line; nothing if it keeps everything."""
    said: list[str] = []
    if settings.content == "drop" or settings.pii == "drop-content":
        kept = kept_namespaces()
        spans = "all spans" if settings.content == "drop" else "spans with PII"
        names = ", ".join(f"{name} {count}" for name, count in kept.items())
        allowed = ", ".join(settings.content_allow) or "nothing more"
        said.append(f"of {spans}, text is kept under {sum(kept.values())} names: {names}")
        said.append(f"content_allow adds {allowed}")
        exceptions = settings.exceptions or "drop"
        said.append(f"exception messages, stack traces, status messages: {exceptions}")
        said.append("replay --dry-run counts the keys that would be kept and dropped")
    elif settings.exceptions == "drop":
        said.append("exception messages, stack traces, status messages: drop")
    if settings.content == "redact":
        said.append("matches are replaced in every text; what the expressions do not match is kept")
    if is_unkeyed(settings):
        said.append(UNKEYED)
    return said


def write_kept(kept: KeptKeys, sampled_traces: int) -> None:
    """Print the keys that the policy would keep and drop, with counts."""
    for what, counts in (("kept", kept.kept), ("dropped", kept.dropped)):
        out.print(
            f"{what}, by key, in the {sampled_traces:,} traces that were read: {_listed(counts)}",
            soft_wrap=True,
            markup=False,
        )


def _listed(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{escaped(key)} {count:,}" for key, count in ordered) or "nothing"
