"""The result of sending one batch: what was accepted, what was rejected and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic

from netra_otel_bridge.deliver.batching import Item, Owner

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan


@dataclass(frozen=True, slots=True)
class Dead(Generic[Owner]):
    """An item that the destination will never accept, unchanged, and the destination's reason."""

    item: Item[Owner]
    reason: str

    @property
    def span(self) -> ReadableSpan:
        """Return the span of the item."""
        return self.item.span


@dataclass(slots=True)
class Answer(Generic[Owner]):
    """The result of one batch, as far as it was answered.

    ``accepted`` and ``dead`` hold the items of the batch themselves; each answered item is in one of them.
    ``delivered`` and ``size_bytes`` count accepted spans; ``trimmed`` of these were shortened. ``refused`` counts the
    rejected spans of a partial success, which does not name them, so they are among ``accepted``. So delivered +
    refused = accepted, with one exception: a part whose rejections stop the lane is counted, but is in neither list.
    ``problems`` has a line for each rejection and each trimmed span. ``unaccepted`` items are not answered: the
    destination fails whenever a request has them, while it accepts others.
    """

    delivered: int = 0
    size_bytes: int = 0
    refused: int = 0
    trimmed: int = 0
    dead: list[Dead[Owner]] = field(default_factory=list)
    accepted: list[Item[Owner]] = field(default_factory=list)
    unaccepted: list[Dead[Owner]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
