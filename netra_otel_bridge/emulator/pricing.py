"""Prices of tokens in US dollars, for the models of the sample traffic.

This small table for local use is not an official price list. It has plausible prices per million tokens, as ``input,
output, cached input``. The longest prefix of the model's name wins, so dated names (``gpt-4o-2024-08-06``) find their
family. The cost of any other model is unknown, not zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_PER_TOKEN = 1e-6
_DIGITS = 10

PRICES: dict[str, tuple[float, float, float]] = {
    "gpt-4o": (2.50, 10.00, 1.25),
    "gpt-4o-mini": (0.15, 0.60, 0.075),
    "gpt-4.1": (2.00, 8.00, 0.50),
    "gpt-4.1-mini": (0.40, 1.60, 0.10),
    "gpt-4.1-nano": (0.10, 0.40, 0.025),
    "gpt-4-turbo": (10.00, 30.00, 10.00),
    "gpt-3.5-turbo": (0.50, 1.50, 0.50),
    "o3-mini": (1.10, 4.40, 0.55),
    "o4-mini": (1.10, 4.40, 0.275),
    "text-embedding-3-small": (0.02, 0.0, 0.02),
    "text-embedding-3-large": (0.13, 0.0, 0.13),
    "text-embedding-ada-002": (0.10, 0.0, 0.10),
    "claude-3-haiku": (0.25, 1.25, 0.03),
    "claude-3-5-haiku": (0.80, 4.00, 0.08),
    "claude-3-5-sonnet": (3.00, 15.00, 0.30),
    "claude-3-7-sonnet": (3.00, 15.00, 0.30),
    "claude-sonnet-4": (3.00, 15.00, 0.30),
    "claude-opus-4": (15.00, 75.00, 1.50),
    "gemini-1.5-flash": (0.075, 0.30, 0.01875),
    "gemini-1.5-pro": (1.25, 5.00, 0.3125),
    "gemini-2.0-flash": (0.10, 0.40, 0.025),
    "gemini-2.5-flash": (0.30, 2.50, 0.075),
    "gemini-2.5-pro": (1.25, 10.00, 0.31),
}


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs in US dollars; ``None`` is unknown."""

    prompt: float | None = None
    completion: float | None = None
    cached: float | None = None
    total: float | None = None


UNKNOWN = Costs()


@lru_cache(maxsize=256)
def entry(model: str) -> str | None:
    """Return the name in `PRICES` that prices ``model``."""
    name = model.rpartition("/")[2].lower()
    return max((prefix for prefix in PRICES if name.startswith(prefix)), key=len, default=None)


def price_list(model: str | None) -> list[dict[str, Any]]:
    """Return the entry that prices ``model``, or all entries: US dollars per token, by the token's use."""
    names = list(PRICES) if not model else [name for name in (entry(model),) if name is not None]
    usages = ("input", "output", "cached_input")
    return [
        {
            "name": name,
            "prices": [
                {"usage_type": usage, "price": round(price * _PER_TOKEN, 12)}
                for usage, price in zip(usages, PRICES[name], strict=True)
            ],
        }
        for name in names
    ]


def cost(model: str | None, prompt: int | None, completion: int | None, cached: int | None) -> Costs:
    """Return the costs of one call.

    ``prompt`` includes the cached tokens, as OpenAI reports them; the prompt's cost covers only the others. Without a
    token count there is no cost.
    """
    priced = None if model is None else entry(model)
    if priced is None or (prompt is None and completion is None):
        return UNKNOWN
    per_input, per_output, per_cached = PRICES[priced]
    hits = min(cached or 0, prompt or 0)
    prompt_cost = None if prompt is None else round((prompt - hits) * per_input * _PER_TOKEN, _DIGITS)
    completion_cost = None if completion is None else round(completion * per_output * _PER_TOKEN, _DIGITS)
    cached_cost = None if cached is None else round(hits * per_cached * _PER_TOKEN, _DIGITS)
    total = (prompt_cost or 0.0) + (completion_cost or 0.0) + (cached_cost or 0.0)
    return Costs(prompt_cost, completion_cost, cached_cost, round(total, _DIGITS))
