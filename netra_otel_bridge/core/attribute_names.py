"""Names of span attributes that more than one room writes."""

from __future__ import annotations

NOTES = "netra.bridge.notes"
"""The list of what conversion could not express and what was trimmed (``docs/mapping.md``, "What is noted")."""
