"""List the attributes whose text is a plain fact: the only text that leaves a span whose content is dropped.

A list of names that carry content can only be too short, so this is a list of names that carry none, by convention. The
text must also look like the fact: ``gen_ai.request.model`` may hold ``gpt-4o``, and never a sentence. ``N`` in a name
stands for an index. Keys can hold prose too: what is not shaped like an attribute's name does not leave.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from netra_otel_bridge.convert import shapes
from netra_otel_bridge.convert.shapes import Shape, words

_FACTS: tuple[tuple[Shape, str, str], ...] = (
    # Calls to models: GenAI conventions, and what instrumentations write beside them.
    (shapes.word, "gen_ai", "operation.name token.type tool.type output.type request.type request.encoding_formats"
        " response.finish_reason response.finish_reasons response.type request.reasoning_effort request.file_type"
        " request.language completion.N.finish_reason task.status openai.request.response_format"
        " openai.request.service_tier openai.response.service_tier evaluation.score.label entity"),
    (shapes.token, "gen_ai", "system request.model response.model agent.model agent.version response.id"
        " response.request_id conversation.id session.id agent.id agent.conversation_id agent.parent_session.id"
        " agent.user_id data_source.id evaluation.name prompt.name tool.call.id tool.call_id tool_call_id tool.id"
        " request.tool.id tool.name request.tool.name request.tools.N.name agent.tools.N.name invocation.id task.id"
        " task.parent.id request.voice_id openai.response.system_fingerprint prompt.N.tool_call_id"
        " prompt.N.tool_calls.N.id prompt.N.tool_calls.N.name completion.N.tool_call_id completion.N.tool_calls.N.id"
        " completion.N.tool_calls.N.name completions.N.tool_calls.N.id completions.N.tool_calls.N.name"
        " prompt.N.function_call.name prompt.N.function_call.id completion.N.function_call.name"
        " prompt.N.function_response.name prompt.N.function_response.id memory.store.id"
        " agno.memory.operation agno.memory.db_type agno.vectordb.operation hermes_agent.task_id hermes_agent.turn_id"
        " hermes_agent.api_request_id claude_code.permission_mode"),
    (shapes.name, "gen_ai", "provider.name agent.name workflow.name handoff.from_agent handoff.to_agent"
        " actions.transfer_to_agent agent.sub_agents.N.gen_ai.agent.name"),
    (shapes.role, "gen_ai", "prompt.N.role completion.N.role response.completion.N.role"),
    (shapes.instant, "gen_ai", "performance.time_to_first_token.timestamp"),
    (shapes.number, "gen_ai", "request.max_tokens request.temperature request.top_p request.top_k request.seed"
        " request.n request.choice.count request.frequency_penalty request.presence_penalty request.dimensions"
        " request.stream is_streaming embeddings.dimension.count response.time_to_first_chunk evaluation.score.value"
        " audio.duration"),
    (shapes.word, "llm", "request.type finish_reason response.finish_reason response.stop_reason request.reasoning_effort"),
    (shapes.token, "llm", "system vendor model_name request.model response.model response.id user prompt_template.version"
        " request.functions.N.name tools.N.tool.name input_messages.N.message.tool_call_id"
        " input_messages.N.message.tool_calls.N.tool_call.id input_messages.N.message.tool_calls.N.tool_call.function.name"
        " output_messages.N.message.tool_call_id output_messages.N.message.tool_calls.N.tool_call.id"
        " output_messages.N.message.tool_calls.N.tool_call.function.name"),
    (shapes.name, "llm", "provider"),
    (shapes.role, "llm", "input_messages.N.message.role output_messages.N.message.role"),
    (shapes.word, "llm", "input_messages.N.message.contents.N.message_content.type"
        " output_messages.N.message.contents.N.message_content.type output_messages.N.message.finish_reason"),
    (shapes.number, "llm", "top_k temperature top_p max_tokens frequency_penalty presence_penalty is_streaming streaming"
        " request.stream request.max_tokens request.temperature request.top_p response.duration"
        " response.embedding_count response.embedding_dimensions"),
    # Attributes of the events that hold messages.
    (shapes.word, "", "finish_reason"),
    (shapes.role, "", "role"),
    # OpenInference.
    (shapes.word, "openinference", "span.kind"),
    (shapes.token, "openinference", "project.name"),
    (shapes.token, "embedding", "model_name"),
    (shapes.token, "reranker", "model_name"),
    (shapes.number, "reranker", "top_k output_documents.N.document.score input_documents.N.document.score"),
    (shapes.number, "retrieval", "documents.N.document.score"),
    (shapes.token, "tool", "name id call_id"),
    (shapes.token, "tool_call", "id function.name"),
    (shapes.name, "agent", "name"),
    (shapes.token, "graph", "node.id node.name node.parent_id"),
    (shapes.media_type, "input", "mime_type"),
    (shapes.media_type, "output", "mime_type"),
    # Netra, its SDKs, and the frameworks that they instrument.
    (shapes.word, "netra", "span.type span.kind status entity.type agents.span_type agent.output_type"),
    (shapes.token, "netra", "instrumentation.name llm_system model session_id tenant_id tenant.id user_id"
        " association.properties.session_id association.properties.user_id organisation.id project.id agents.group_id tool.name guardrail.name mcp.server task.name entity.path"
        " bridge.original.trace_id bridge.original.span_id bridge.original.parent_span_id bridge.original.kind"),
    (shapes.name, "netra", "agent.name entity.name workflow.name agents.parent_agent handoff.source_agent"
        " handoff.target_agent"),
    (shapes.instant, "netra", "created_at"),
    (shapes.number, "netra", "duration_ms guardrail.triggered trace.llm.call pii.detected violation.detected"
        " bridge.original.start_time_ms bridge.original.end_time_ms"),
    (shapes.span_name, "netra", "span.name"),
    (shapes.token, "library", "name version"),
    (shapes.token, "sdk", "name version"),
    (shapes.word, "traceloop", "span.kind"),
    (shapes.name, "traceloop", "entity.name workflow.name"),
    (shapes.token, "traceloop", "entity.path entity.version association.properties.session_id"
        " association.properties.user_id"),
    (shapes.word, "dspy", "span_kind"),
    (shapes.token, "ai", "operationId model.id response.id response.model toolCall.id toolCall.name"
        " telemetry.functionId telemetry.metadata.sessionId telemetry.metadata.userId"),
    (shapes.name, "ai", "model.provider"),
    (shapes.word, "ai", "response.finishReason settings.mode"),
    (shapes.instant, "ai", "response.timestamp"),
    (shapes.span_name, "operation", "name"),
    (shapes.token, "resource", "name"),
    (shapes.token, "adk", "invocation_id"),
    (shapes.token, "gcp.vertex.agent", "session_id invocation_id event_id"),
    (shapes.token, "pydantic_ai", "response.model_name request.parts.N.tool_name request.parts.N.tool_call_id"
        " response.parts.N.tool_name response.parts.N.tool_call_id"),
    (shapes.word, "pydantic_ai", "node.type"),
    (shapes.name, "", "agent_name"),
    (shapes.token, "", "model_name"),
    (shapes.number, "pydantic_ai", "cost request.parts_count response.parts_count tool_results_count"
        " system_prompts_count"),
    (shapes.token, "langfuse", "user.id session.id release version environment observation.model.name"),
    (shapes.word, "langfuse", "observation.type observation.level"),
    (shapes.counts, "langfuse", "observation.usage_details observation.cost_details"),
    (shapes.counts, "mlflow", "chat.tokenUsage llm.cost"),
    (shapes.quoted_token, "mlflow", "spanType llm.model llm.provider traceRequestId"),
    (shapes.token, "mcp", "method.name session.id protocol.version"),
    # Protocols.
    (shapes.word, "http", "method request.method scheme flavor connection.state"),
    (shapes.route, "http", "route"),
    (shapes.url, "http", "url"),
    (shapes.token, "http", "host server_name"),
    (shapes.number, "http", "status_code response.status_code request.resend_count request.body.size response.body.size"
        " request.size response.size request_content_length response_content_length"),
    (shapes.word, "url", "scheme extension"),
    (shapes.url, "url", "full"),
    (shapes.route, "url", "path template"),
    (shapes.token, "url", "domain registered_domain subdomain top_level_domain"),
    (shapes.token, "server", "address"),
    (shapes.token, "client", "address"),
    (shapes.token, "source", "address"),
    (shapes.token, "destination", "address"),
    (shapes.token, "network", "protocol.name protocol.version transport type peer.address local.address"
        " connection.type connection.subtype interface.name io.direction"),
    (shapes.token, "net", "transport protocol.name protocol.version host.name host.ip peer.name peer.ip sock.family"
        " sock.host.addr sock.peer.addr sock.peer.name"),
    (shapes.token, "rpc", "system system.name service method jsonrpc.version jsonrpc.request_id"),
    (shapes.word, "rpc", "grpc.status_code response.status_code message.type connect_rpc.error_code"),
    (shapes.token, "messaging", "system operation operation.name operation.type destination.name destination.template"
        " destination.partition.id destination.subscription.name consumer.group.name client.id message.id"
        " message.conversation_id kafka.consumer.group kafka.destination.partition rabbitmq.destination.routing_key"),
    (shapes.number, "messaging", "message.body.size message.envelope.size batch.message_count kafka.message.offset"
        " kafka.offset kafka.message.tombstone rabbitmq.message.delivery_tag servicebus.message.delivery_count"),
    (shapes.token, "db", "system system.name operation operation.name name namespace type collection.name sql.table"
        " stored_procedure.name instance.id milvus.search.collection_name milvus.insert.collection_name"
        " mongodb.collection cassandra.table redis.database_index response.status_code"),
    (shapes.number, "db", "operation.batch.size response.returned_rows query.result.score query.result.distance"
        " search.result.score search.result.distance chroma.query.n_results chroma.query.texts_count"),
    (shapes.token, "pinecone", "query.namespace query.id"),
    (shapes.number, "pinecone", "query.top_k usage.read_units usage.write_units query.include_values"),
    (shapes.word, "graphql", "operation.type"),
    (shapes.token, "tls", "protocol.name protocol.version cipher curve"),
    # Errors and code.
    (shapes.token, "exception", "type"),
    (shapes.word, "exception", "escaped"),
    (shapes.token, "error", "type"),
    (shapes.token, "code", "function function.name file.path filepath namespace"),
    (shapes.number, "code", "lineno line.number column column.number"),
    (shapes.token, "thread", "name"),
    (shapes.word, "otel", "status_code span.sampling_result span.parent.origin"),
    (shapes.token, "otel", "scope.name scope.version library.name library.version component.name component.type"),
    # People and sessions: ids, which `user` handles.
    (shapes.token, "session", "id previous_id"),
    (shapes.token, "user", "id hash"),
    (shapes.token, "enduser", "id pseudo.id"),
    (shapes.word, "user_agent", "name"),
    (shapes.token, "user_agent", "version"),
    # Resources.
    (shapes.name, "service", "name namespace"),
    (shapes.token, "service", "version instance.id peer.name"),
    (shapes.token, "peer", "service"),
    (shapes.token, "telemetry", "sdk.name sdk.version sdk.language distro.name distro.version auto.version"),
    (shapes.token, "deployment", "environment environment.name id name status"),
    (shapes.token, "host", "name id ip mac arch type image.id image.name image.version"),
    (shapes.token, "os", "type name version build_id"),
    (shapes.token, "process", "executable.name executable.path runtime.name runtime.version"),
    (shapes.token, "container", "id name image.id image.name image.tags runtime runtime.name"),
    (shapes.token, "k8s", "cluster.name cluster.uid namespace.name node.name node.uid pod.name pod.uid pod.ip"
        " pod.hostname container.name deployment.name deployment.uid replicaset.name replicaset.uid statefulset.name"
        " statefulset.uid daemonset.name daemonset.uid job.name job.uid cronjob.name cronjob.uid service.name"),
    (shapes.token, "cloud", "provider platform region availability_zone account.id resource_id"),
    (shapes.token, "aws", "request_id extended_request_id ecs.cluster.arn ecs.container.arn ecs.launchtype ecs.task.arn"
        " ecs.task.family ecs.task.id ecs.task.revision eks.cluster.arn lambda.invoked_arn log.group.names"
        " log.stream.names bedrock.guardrail.id bedrock.knowledge_base.id"),
    (shapes.token, "azure", "client.id service.request.id resource_group.name resource_provider.namespace"),
    (shapes.token, "gcp", "cloud_run.job.execution gce.instance.name gce.instance.hostname"),
    (shapes.token, "faas", "name version instance trigger invoked_name invoked_provider invoked_region invocation_id"),
    (shapes.token, "vcs", "repository.name ref.head.name ref.head.revision"),
    (shapes.token, "webengine", "name version"),
)  # fmt: skip
FACTS: dict[str, Shape] = {
    (f"{namespace}.{name}" if namespace else name): shape
    for shape, namespace, names in _FACTS
    for name in names.split()
}
"""The shape that the text under each known name must have."""

MEASURED = (
    "gen_ai.usage.",
    "gen_ai.performance.",
    "llm.usage.",
    "llm.token_count.",
    "llm.cost.",
    "netra.cost.",
    "netra.usage.",
    "ai.usage.",
    "pydantic_ai.usage.",
)
"""Beginnings of names that hold numbers, also where they were recorded as text."""

EXCEPTION_TEXT = words(
    "exception.message exception.stacktrace error.message error.stack error netra.error_message code.stacktrace"
    " otel.status_description rpc.jsonrpc.error_message feature_flag.error.message"
    " feature_flag.evaluation.error.message"
)
"""Names of the words of exceptions, which often repeat the data that caused them."""

NOT_A_NAME = "(not a name)"
"""Counts keys that are not shaped like a name: the key itself may be content."""
OTHER_KEYS = "(other keys)"
"""Counts further keys, once `MAX_COUNTED_KEYS` are known."""
MAX_COUNTED_KEYS = 1000
_MAX_KEY_WORDS = 14

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,149}")
_INDEX = re.compile(r"(?<=\.)[0-9]+(?=\.|$)")
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+")
_CONTENT = words(
    "input inputs output outputs prompt prompts completion completions message messages content contents text texts"
    " body query statement result results document documents answer question value values data part parts choice"
    " choices conversation transcript instruction instructions action actions note notes title summary"
)
_PARTS = words(
    "arg args argument arguments kwargs parameter parameters param params metadata properties custom variable variables"
    " vector vectors embedding embeddings state delta payload original where filter"
)
_ANSWERS = _CONTENT | _PARTS | {"response", "reply"}
_MEASURES = words(
    "count counts tokens token size length chars characters bytes ms seconds duration latency time cost score index"
    " total limit units"
)


class Rule(NamedTuple):
    """The decision about one key.

    ``name`` is its name in counts, ``text`` the shape of the text that may leave. ``numbers`` and ``everything`` say
    whether a number may leave, and whether any value may.
    """

    name: str
    text: Shape | None
    numbers: bool
    everything: bool = False


def rule_of(key: str) -> Rule:
    """Return the decision about a key: text leaves only under a known name, and a number unless it is a part of content."""
    if not is_name(key):
        return Rule(NOT_A_NAME, None, False)
    name = _INDEX.sub("N", key)
    shape = FACTS.get(name)
    if shape is not None:
        return Rule(name, shape, True)
    if name.startswith(MEASURED):
        return Rule(name, shapes.number, True)
    return Rule(name, None, not _is_part_of_content(key))


def counted_name(key: str) -> str:
    """Return the name under which a key is counted: with ``N`` for an index; a common word for what is no name."""
    return _INDEX.sub("N", key) if is_name(key) else NOT_A_NAME


def is_name(key: str) -> bool:
    """Return whether a key is shaped like an attribute's name, and is not long enough for a sentence."""
    return _KEY.fullmatch(key) is not None and (len(key) < 40 or len(_WORDS.findall(key)) <= _MAX_KEY_WORDS)


def _is_part_of_content(key: str) -> bool:
    """Return whether a number under an unknown name belongs to content, such as an argument or a vector.

    ``prompt.0.temperature`` is below content, and ``prompt_tokens`` measures it.
    """
    *outer, last = key.split(".")
    if any(word in _CONTENT or word in _PARTS for part in outer for word in _split(part)):
        return True
    ends = _split(last)
    return any(word in _ANSWERS for word in ends) and ends[-1] not in _MEASURES


def _split(part: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(part)]
