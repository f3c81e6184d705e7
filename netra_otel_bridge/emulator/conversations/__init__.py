"""Sample conversations: one in each dialect that instrumentations write, in the shapes of recordings.

A dialect is what an SDK and its instrumentation call things: where the messages are, how a tool's call looks, which
names the token counts have. The content is made up.
"""

from __future__ import annotations

from netra_otel_bridge.emulator.conversations import (
    agents,
    anthropic,
    frameworks,
    genai,
    google,
    openai,
    safety,
    search,
    speech,
)
from netra_otel_bridge.emulator.conversations.shapes import Conversation

CONVERSATIONS: tuple[Conversation, ...] = (
    *openai.CONVERSATIONS,
    *anthropic.CONVERSATIONS,
    *genai.CONVERSATIONS,
    *google.CONVERSATIONS,
    *frameworks.CONVERSATIONS,
    *search.CONVERSATIONS,
    *speech.CONVERSATIONS,
    *safety.CONVERSATIONS,
    *agents.CONVERSATIONS,
)
"""All of them. In sample traffic the last is the newest."""
