"""A fake destination that decides about each request by its content; a script can only count requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.fake_destination import Decision, FakeDestination, Received

Rule = Callable[[Received], Decision | None]


class JudgingDestination(FakeDestination):
    """A destination that asks ``rule`` first. If that returns ``None`` the script decides, and after the script it accepts."""

    def __init__(self, rule: Rule, **options: Any) -> None:
        super().__init__(**options)
        self.rule = rule

    def _decide(self, received: Received) -> Decision:
        decision = self.rule(received)
        if decision is not None:
            with self._lock:
                self._decisions.appendleft(decision)
        return super()._decide(received)


def span_ids(received: Received) -> list[str]:
    """Return the span ids in a request, in hex."""
    return [
        span.span_id.hex()
        for resource in received.request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
