"""Names of providers: those that instrumentations write, and those of both conventions."""

from __future__ import annotations

from functools import lru_cache

PROVIDERS = (
    "anthropic",
    "aws.bedrock",
    "azure.ai.inference",
    "azure.ai.openai",
    "cohere",
    "deepseek",
    "gcp.gemini",
    "gcp.gen_ai",
    "gcp.vertex_ai",
    "groq",
    "ibm.watsonx.ai",
    "mistral_ai",
    "openai",
    "perplexity",
    "x_ai",
)
"""Values of ``gen_ai.provider.name`` that the conventions list."""

EXACT = {
    **{name: name for name in PROVIDERS},
    "az.ai.inference": "azure.ai.inference",
    "azure_ai_inference": "azure.ai.inference",
    "azure_ai": "azure.ai.inference",
    "az.ai.openai": "azure.ai.openai",
    "aws": "aws.bedrock",
    "aws_bedrock": "aws.bedrock",
    "amazon-bedrock": "aws.bedrock",
    "amazon_bedrock": "aws.bedrock",
    "claude_agent_sdk": "anthropic",
    "google": "gcp.gen_ai",
    "google.generative-ai": "gcp.gemini",
    "google-generativeai": "gcp.gemini",
    "google_generativeai": "gcp.gemini",
    "google_generative_ai": "gcp.gemini",
    "google-gla": "gcp.gemini",
    "google_genai": "gcp.gen_ai",
    "google-vertex": "gcp.vertex_ai",
    "google_vertexai": "gcp.vertex_ai",
    "vertex": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "mistralai": "mistral_ai",
    "ibm": "ibm.watsonx.ai",
}
"""Provider of each system that is recorded under another name."""
FAMILIES = (
    ("openai", "openai"),
    ("anthropic", "anthropic"),
    ("google.vertex", "gcp.vertex_ai"),
    ("google-vertex", "gcp.vertex_ai"),
    ("gcp.vertex", "gcp.vertex_ai"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("google.generative-ai", "gcp.gemini"),
    ("gemini", "gcp.gemini"),
    ("bedrock", "aws.bedrock"),
    ("amazon-bedrock", "aws.bedrock"),
    ("azure", "azure.ai.openai"),
    ("xai", "x_ai"),
    ("mistral", "mistral_ai"),
    ("cohere", "cohere"),
    ("groq", "groq"),
    ("deepseek", "deepseek"),
    ("perplexity", "perplexity"),
    ("watsonx", "ibm.watsonx.ai"),
)
"""Provider of each family: a name that begins with this word, followed by its end, a dot or another mark."""
INSTRUMENTATIONS = {
    "anthropic": "anthropic",
    "claude_agent_sdk": "anthropic",
    "bedrock": "aws.bedrock",
    "cerebras": "cerebras",
    "cartesia": "cartesia",
    "cohere": "cohere",
    "deepgram": "deepgram",
    "deepseek": "deepseek",
    "elevenlabs": "elevenlabs",
    "google_genai": "gcp.gemini",
    "google_generativeai": "gcp.gemini",
    "groq": "groq",
    "mistralai": "mistral_ai",
    "ollama": "ollama",
    "openai": "openai",
    "openai_agents": "openai",
    "replicate": "replicate",
    "together": "together_ai",
    "vertexai": "gcp.vertex_ai",
    "voyageai": "voyageai",
    "watsonx": "ibm.watsonx.ai",
}
"""Provider of each instrumentation of netra-sdk that serves one provider."""

_VAGUE = {"google"}
"""Names of a company with several services, which the instrumentation tells apart."""

OPENINFERENCE: dict[str, tuple[str, str | None]] = {
    "anthropic": ("anthropic", "anthropic"),
    "aws.bedrock": ("aws", None),
    "azure.ai.inference": ("azure", None),
    "azure.ai.openai": ("azure", "openai"),
    "cohere": ("cohere", "cohere"),
    "deepseek": ("deepseek", None),
    "gcp.gemini": ("google", None),
    "gcp.gen_ai": ("google", None),
    "gcp.vertex_ai": ("google", "vertexai"),
    "groq": ("groq", None),
    "mistral_ai": ("mistralai", "mistralai"),
    "openai": ("openai", "openai"),
    "perplexity": ("perplexity", None),
    "x_ai": ("xai", None),
    "fireworks_ai": ("fireworks", None),
    "together_ai": ("together", None),
    "cerebras": ("cerebras", None),
    "ollama": ("ollama", None),
    "meta": ("meta", None),
    "minimax": ("minimax", None),
    "moonshot_ai": ("moonshot", None),
    "oracle": ("oracle", None),
    "zai": ("zai", None),
}
"""``llm.provider`` and ``llm.system`` of each provider of the GenAI conventions."""

_WITH_OR_WITHOUT_AI = frozenset({"fireworks", "moonshot", "together"})


@lru_cache(maxsize=1024)
def provider(system: str | None, instrumentation: str | None = None, model: str | None = None) -> str | None:
    """Return ``gen_ai.provider.name``: of the recorded system, else of the instrumentation or LiteLLM's model.

    A name that the conventions do not list stays as recorded. Nothing is guessed from the name of a model alone.
    """
    if system:
        word = system.lower()
        by_instrumentation = INSTRUMENTATIONS.get(instrumentation or "")
        if word in _VAGUE and by_instrumentation is not None:
            return by_instrumentation
        return _known(word) or system
    if instrumentation == "litellm" and model and "/" in model:
        word = model.partition("/")[0].lower()
        return _known(word) or word
    return INSTRUMENTATIONS.get(instrumentation or "")


def _known(word: str) -> str | None:
    exact = EXACT.get(word)
    if exact is not None:
        return exact
    for family, name in FAMILIES:
        if word.startswith(family) and not word[len(family) : len(family) + 1].isalnum():
            return name
    return None


def openinference_names(name: str) -> tuple[str, str | None]:
    """Return ``llm.provider`` and ``llm.system``; a provider that OpenInference does not list names both.

    Case aside, ``TogetherAI``, ``together-ai`` and ``together`` are one.
    """
    word = name.lower()
    short = word.removesuffix("ai").rstrip("_-. ")
    return OPENINFERENCE.get(word) or ((short, None) if short in _WITH_OR_WITHOUT_AI else (name, name))
