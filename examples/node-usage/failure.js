// Errors of the bridge, with their google.rpc details.
import grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';

const DOMAIN = 'netra-otel-bridge';
const { root } = protobuf.parse(`
  syntax = "proto3";
  package google.rpc;
  message Detail { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Detail details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
  message Duration { int64 seconds = 1; int32 nanos = 2; }
  message RetryInfo { Duration retry_delay = 1; }
`);
const { UNAVAILABLE, CANCELLED, INTERNAL, RESOURCE_EXHAUSTED } = grpc.status;
const TRANSIENT = new Set([UNAVAILABLE, CANCELLED, INTERNAL, RESOURCE_EXHAUSTED]);

/** A failed call: its `code`, the `reason` of the bridge's ErrorInfo, and `retryMs` if waiting helps. */
export class Failure extends Error {
  constructor(error) {
    super(`${grpc.status[error.code]}: ${error.details}`, { cause: error });
    this.code = error.code;
    for (const detail of details(error)) {
      if (detail.domain === DOMAIN) {
        this.reason = detail.reason;
        this.message += ` (${detail.reason})`;
        if (detail.metadata.hint) this.message += `; ${detail.metadata.hint}`;
      } else if (detail.retryDelay) {
        this.retryMs = Number(detail.retryDelay.seconds) * 1000 + detail.retryDelay.nanos / 1e6;
      }
    }
  }

  /**
   * Tell whether to call again. An error without a reason does not come from the bridge itself: the connection broke,
   * nothing is listening, or the server is too busy even to reject the call. If a subscription was taken over, leave it
   * to the other client: two clients that both resume take it from each other forever.
   */
  get isTransient() {
    if (this.reason === 'TAKEN_OVER') return false;
    if (this.reason === undefined) return TRANSIENT.has(this.code);
    return this.retryMs !== undefined || this.reason === 'READER_STALLED';
  }
}

function* details(error) {
  const [packed] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (packed === undefined) return;
  for (const { typeUrl, value } of root.lookupType('google.rpc.Status').decode(packed).details) {
    const name = typeUrl.split('/').pop();
    if (name === 'google.rpc.ErrorInfo' || name === 'google.rpc.RetryInfo') yield root.lookupType(name).decode(value);
  }
}
