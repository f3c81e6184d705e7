"""Model calls for the usage tests: feed them into the emulator, and add up what they used."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from netra_otel_bridge.emulator.otlp import read_document
from tests.support.emulator import ThreadedEmulator, otlp_document, otlp_span

PROMPT_USD, COMPLETION_USD = 2.50e-6, 10.00e-6
"""The emulator's prices per token of gpt-4o."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A model call: one span in a trace of its own."""

    number: int
    tenant_id: str
    at_ns: int
    prompt: int = 100
    completion: int = 20
    session_id: str = ""
    model: str = "gpt-4o"
    environment: str = "prod"

    @property
    def tokens(self) -> int:
        return self.prompt + self.completion

    @property
    def cost(self) -> float:
        return self.prompt * PROMPT_USD + self.completion * COMPLETION_USD

    def span(self) -> dict[str, Any]:
        attributes = {
            "netra.span.type": "GENERATION",
            "gen_ai.system": "openai",
            "gen_ai.request.model": self.model,
            "gen_ai.response.model": self.model,
            "gen_ai.usage.prompt_tokens": self.prompt,
            "gen_ai.usage.completion_tokens": self.completion,
        }
        if self.tenant_id:
            attributes["netra.tenant_id"] = self.tenant_id
        if self.session_id:
            attributes["netra.session_id"] = self.session_id
        return otlp_span(self.number, self.number, start_ns=self.at_ns, attributes=attributes)


@dataclass(slots=True)
class Calls:
    """The calls fed into the emulator, by number. Feeding a number again replaces the call."""

    netra: ThreadedEmulator
    given: dict[int, ModelCall] = field(default_factory=dict)

    def feed(self, *calls: ModelCall) -> None:
        """Feed calls into the emulator."""
        for environment in {call.environment for call in calls}:
            resource = {"service.name": "shop", "deployment.environment.name": environment}
            spans = [call.span() for call in calls if call.environment == environment]
            document = read_document(otlp_document(*spans, resource=resource))
            assert self.netra.call(lambda document=document: self.netra.emulator.store.ingest(document)) == []
        self.given |= {call.number: call for call in calls}

    def more(self, tenant_id: str, at_ns: int, **fields: Any) -> ModelCall:
        """Feed one call with the next number."""
        call = ModelCall(len(self.given) + 1, tenant_id, at_ns, **fields)
        self.feed(call)
        return call

    def change(self, number: int, **fields: Any) -> None:
        """Feed a call again with changed values."""
        self.feed(replace(self.given[number], **fields))

    def total(self, tenant_id: str, start_ns: int = 0, end_ns: int = 2**63) -> tuple[int, int, float]:
        """Return tokens, requests and cost of a tenant in a time range."""
        calls = [one for one in self.given.values() if one.tenant_id == tenant_id and start_ns <= one.at_ns < end_ns]
        return sum(one.tokens for one in calls), len(calls), sum(one.cost for one in calls)
