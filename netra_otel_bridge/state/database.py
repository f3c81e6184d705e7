"""The database behind the state: files, lock, one reader, one writer."""

from __future__ import annotations

_RESTORE = "put the directory back, or start anew; what was answered since the last transaction is sent again"
LOG_BYTES = 2**30
"""How far SQLite's log may grow: far beyond what it does unless another program holds it back."""
