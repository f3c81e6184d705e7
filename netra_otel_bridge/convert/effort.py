"""Bound the processor time that the expressions of a policy take in one span, and in one trace.

RE2 searches in linear time, but a text can have as many matches as characters, and each search may read to the end of
the text. `Expression.replace` bounds one text. A trace has any number of texts, so the time is bounded too.
"""

from __future__ import annotations

from collections.abc import Callable

SPAN_S = 1.0
"""Processor time for the searches in one span. A gigabyte a second is usual, so only quadratic searches reach it."""
TRACE_S = 5.0
"""Processor time for the searches in one trace, between two readings of it."""
LOOK_CHARS = 4096
"""Characters that are searched between two looks at the time: quadratic searches in so many take 0.05 s."""
_MAX_TRACES = 1000


class Effort:
    """The time that the searches of one converter have taken. After the limit, ``is_spent`` is true until `begin`.

    ``cpu_s`` returns the processor time of the calling thread in seconds. A span is converted in one thread.
    """

    def __init__(self, cpu_s: Callable[[], float]) -> None:
        self._cpu_s = cpu_s
        self._taken_s: dict[str, float] = {}
        self._trace_id = ""
        self._began_s: float | None = None
        self._chars = 0
        self.is_spent = False

    def forget(self, trace_id: str) -> None:
        """Begin a trace anew: it is read once more."""
        self._taken_s.pop(trace_id, None)

    def begin(self, trace_id: str) -> None:
        """Begin with a span of a trace."""
        self._trace_id = trace_id
        self._began_s = None
        self.is_spent = self._taken_s.get(trace_id, 0.0) >= TRACE_S

    def end(self) -> None:
        """Add the time of this span to that of its trace."""
        if self._began_s is None:
            return
        if len(self._taken_s) >= _MAX_TRACES:
            self._taken_s.clear()
        self._taken_s[self._trace_id] = self._taken_s.get(self._trace_id, 0.0) + self._cpu_s() - self._began_s

    def allows(self, chars: int) -> bool:
        """Return whether a text of so many characters may still be searched."""
        self._chars += chars
        if self._chars >= LOOK_CHARS and not self.is_spent:
            self._chars = 0
            now_s = self._cpu_s()
            if self._began_s is None:
                self._began_s = now_s
            taken_s = now_s - self._began_s
            self.is_spent = taken_s >= min(SPAN_S, TRACE_S - self._taken_s.get(self._trace_id, 0.0))
        return not self.is_spent
