"""Queries of vector stores, as the instrumentations of databases write them. Their results are events.

db.system = "chroma"        db.operation = "query"
db.marqo.search.query = "reef"
"""

from __future__ import annotations

from netra_otel_bridge.convert.llm.dialects.dialect import Dialect

STORES = frozenset(
    {
        "chroma",
        "chromadb",
        "pinecone",
        "milvus",
        "marqo",
        "weaviate",
        "qdrant",
        "lancedb",
        "pgvector",
        "faiss",
        "turbopuffer",
    }
)
SEARCHES = frozenset(
    {"query", "search", "hybrid_search", "peek", "retrieve", "similarity_search", "near_text", "near_vector"}
)

VECTOR_STORE = Dialect(
    "vector_store",
    facts=(
        ("db.system", "database"),
        ("db.system.name", "database"),
        ("db.operation", "database_operation"),
        ("db.operation.name", "database_operation"),
        ("gen_ai.agno.vectordb.operation", "database_operation"),
        ("db.marqo.search.query", "query"),
        ("rerank.top_n", "reranker_top_k"),
    ),
)
