// Errors of the bridge, with what google.rpc tells of them.
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

/** A call that failed: its `code`, the `reason` of the bridge's ErrorInfo, and `retryMs` where waiting helps. */
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
   * Whether to call again. Without a reason it is not the bridge that answered: the connection broke, nobody listens, or
   * there are too many calls even to be refused. A subscription that was taken over is left to the other client: two
   * that go on would take it from each other without end.
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
