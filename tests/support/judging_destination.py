"""A fake destination that judges each request by what is in it, where a script can only count requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.fake_destination import Decision, FakeDestination, Received

Rule = Callable[[Received], Decision | None]


class JudgingDestination(FakeDestination):
    """``rule`` decides; where it says nothing (``None``) the script does, and after that the request is accepted."""

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
    """The span ids in a request, in hex."""
    return [
        span.span_id.hex()
        for resource in received.request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
