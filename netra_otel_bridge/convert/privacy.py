"""What leaves the bridge: the policy for content and for user ids. What is dropped is counted, and never logged."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

Content = Literal["keep", "drop", "redact"]
Pii = Literal["keep", "drop-content"]
User = Literal["keep", "hash", "drop"]

REDACTED = "[redacted]"

CONTENT_KEYS = re.compile(
    r"input|output|message|content|netra\.(prompt|completion|input|output|action)"
    r"|(input|output)\.value"
    r"|gen_ai\.(prompt|completion|input\.messages|output\.messages|system_instructions|event\.content)"
    r"|gen_ai\.(prompt|completion)\.\d+\.(content(\..*)?|reasoning.*|tool_calls.*|function_call.*)"
    r"|gen_ai\.tool\.(call\.arguments|call\.result|definitions|parameters)"
    r"|traceloop\.entity\.(input|output)"
    r"|llm\.(prompts|completions|(input|output)_messages\..*\.(content(s\..*)?|arguments|function_call_arguments_json))"
    r"|llm\.prompt_template\.variables"
    r"|tool\.parameters|tool_call\.function\.arguments|retrieval\.documents\..*|embedding\.embeddings\..*"
    r"|netra\.bridge\.original\.(attributes|events|links|metadata)"
)
"""Keys that carry prompts, completions, inputs, outputs and tool arguments, in the dialects that are known."""

USER_KEYS = ("netra.user_id", "user.id", "enduser.id")


@dataclass(frozen=True, slots=True)
class Privacy:
    """``content``: ``keep``, ``drop``, or ``redact`` what ``redact`` matches; ``pii``: whether content of spans with
    PII is dropped; ``user``: whether user ids are kept, hashed (SHA-256, 32 hex digits) or dropped."""

    content: Content = "keep"
    redact: tuple[re.Pattern[str], ...] = ()
    pii: Pii = "keep"
    user: User = "keep"

    def user_id(self, value: str) -> str | None:
        """What a user id is replaced by; ``None`` where it is dropped."""
        if self.user == "keep":
            return value
        if self.user == "drop":
            return None
        return hashlib.sha256(value.encode("utf-8", "backslashreplace")).hexdigest()[:32]

    def touches_content(self, has_pii: bool) -> bool:
        return self.content != "keep" or (has_pii and self.pii == "drop-content")

    def apply(self, attributes: dict[str, Any], *, has_pii: bool, counts: Counter[str]) -> dict[str, Any]:
        """The attributes that may leave; the same object where the policy keeps all."""
        drop = self.content == "drop" or (has_pii and self.pii == "drop-content")
        if drop or self.content == "redact":
            kept: dict[str, Any] = {}
            for key, value in attributes.items():
                if not CONTENT_KEYS.fullmatch(key):
                    kept[key] = value
                elif drop:
                    counts["content_dropped"] += 1
                else:
                    kept[key] = self._redacted(value, counts)
            attributes = kept
        if self.user != "keep":
            for key in USER_KEYS:
                if key in attributes:
                    replaced = self.user_id(str(attributes.pop(key)))
                    counts["user_changed"] += 1
                    if replaced is not None:
                        attributes[key] = replaced
        return attributes

    def _redacted(self, value: Any, counts: Counter[str]) -> Any:
        if isinstance(value, str):
            for pattern in self.redact:
                value, found = pattern.subn(REDACTED, value)
                counts["content_redacted"] += found
            return value
        if isinstance(value, tuple):
            return tuple(self._redacted(item, counts) for item in value)
        if isinstance(value, dict):
            return {key: self._redacted(item, counts) for key, item in value.items()}
        return value
