"""Names of span attributes that more than one package writes."""

from __future__ import annotations

import re

NOTES = "netra.bridge.notes"
"""Lists the values that conversion could not express or that were trimmed (``docs/mapping.md``, "What is noted")."""

ALLOWED = re.compile(r"[^\s*]+(\.\*)?")
"""The form of a name in ``content_allow``: exact, or ``prefix.*``."""
ALLOWED_RULE = "expected names of attributes, or prefix.* for all names below one"
