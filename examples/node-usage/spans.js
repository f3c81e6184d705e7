// OTLP spans as this program shows them.

/** The spans of a TracesData, each with its resource. */
export function* spansOf(tracesData) {
  for (const { resource, scopeSpans } of tracesData?.resourceSpans ?? []) {
    for (const { spans } of scopeSpans) {
      for (const span of spans) yield { span, resource };
    }
  }
}

/** The model that answered, or else was asked; undefined where none was called. */
export function modelOf(span) {
  const attributes = named(span.attributes);
  return attributes.get('gen_ai.response.model') ?? attributes.get('gen_ai.request.model');
}

/** What is printed of a span. Times are nanoseconds, as texts: they are larger than a number holds exactly. */
export function summary(span, resource) {
  return {
    trace_id: span.traceId.toString('hex'),
    span_id: span.spanId.toString('hex'),
    name: span.name,
    service: named(resource?.attributes).get('service.name'),
    start_ns: span.startTimeUnixNano,
    end_ns: span.endTimeUnixNano,
    model: modelOf(span),
  };
}

function named(attributes) {
  return new Map((attributes ?? []).map(({ key, value }) => [key, value?.stringValue]));
}
