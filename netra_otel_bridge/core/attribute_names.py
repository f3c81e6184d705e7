"""Names of span attributes that more than one package writes."""

from __future__ import annotations

NOTES = "netra.bridge.notes"
"""Lists the values that conversion could not express or that were trimmed (``docs/mapping.md``, "What is noted")."""
