// OTLP spans, in the form this program prints.

/** Yield the spans of a TracesData, each with its resource. */
export function* spansOf(tracesData) {
  for (const { resource, scopeSpans } of tracesData?.resourceSpans ?? []) {
    for (const { spans } of scopeSpans) {
      for (const span of spans) yield { span, resource };
    }
  }
}

/** Return the model that answered, else the requested model, else undefined. */
export function modelOf(span) {
  const attributes = named(span.attributes);
  return attributes.get('gen_ai.response.model') ?? attributes.get('gen_ai.request.model');
}

/** Return the printed form of a span. Times are nanoseconds as text, because a number cannot hold them exactly. */
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
