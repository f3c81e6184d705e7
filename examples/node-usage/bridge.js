// A client of the bridge's gRPC service that retries calls where that helps.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

import { Failure } from './failure.js';

const PROTO = fileURLToPath(new URL('../../proto', import.meta.url));
const FIRST_DELAY_MS = 200;
const MAX_DELAY_MS = 30_000;
const UNARY_MS = 70_000;
const UNARY_TRIES = 5;

const definition = protoLoader.loadSync('netra_otel_bridge/v1/bridge.proto', {
  includeDirs: [PROTO],
  longs: String,
  enums: String,
  arrays: true,
});
const { BridgeService } = grpc.loadPackageDefinition(definition).netra_otel_bridge.v1;

/** Connect to the bridge at `address`, HOST:PORT. Throws if the token would be sent in plain text. */
export function connect(address, token, { ca, tls } = {}) {
  const secure = Boolean(ca || tls);
  if (token && !secure && !/^(localhost|127(\.\d+){3}|\[::1\]):\d+$/.test(address)) {
    throw new Error(`the token would go to ${address} in plain text: give --ca or --tls`);
  }
  const credentials = secure
    ? grpc.credentials.createSsl(ca ? readFileSync(ca) : null)
    : grpc.credentials.createInsecure();
  return new Bridge(
    new BridgeService(address, credentials, {
      'grpc.keepalive_time_ms': 30_000,
      'grpc.keepalive_timeout_ms': 10_000,
      'grpc.max_reconnect_backoff_ms': 5000,
    }),
    token,
  );
}

class Bridge {
  #client;
  #token;

  constructor(client, token) {
    this.#client = client;
    this.#token = token;
  }

  /** Return a tenant's usage as a GetTenantUsageResponse. Throws a Failure. */
  getTenantUsage(request) {
    return this.#unary('getTenantUsage', request);
  }

  /** Return a session's usage as a GetSessionUsageResponse. Throws a Failure. */
  getSessionUsage(request) {
    return this.#unary('getSessionUsage', request);
  }

  /**
   * Yield the responses of ReadSpans, to the end of the range. If the stream breaks, resume after the last response
   * that the loop has processed. Throws a Failure if waiting does not help.
   */
  async *readSpans(request) {
    let resumeToken = '';
    let delay = 0;
    for (;;) {
      const stream = this.#client.readSpans({ ...request, resumeToken }, this.#metadata());
      try {
        for await (const response of stream) {
          yield response;
          resumeToken = response.resumeToken;
          delay = 0;
        }
        return;
      } catch (error) {
        delay = await this.#pause(error, delay);
      } finally {
        stream.cancel();
      }
    }
  }

  close() {
    this.#client.close();
  }

  async #unary(method, request) {
    let delay = 0;
    for (let tries = 1; ; tries += 1) {
      try {
        return await new Promise((resolve, reject) => {
          const options = { deadline: Date.now() + UNARY_MS };
          const done = (error, response) => (error ? reject(error) : resolve(response));
          this.#client[method](request, this.#metadata(), options, done);
        });
      } catch (error) {
        if (tries === UNARY_TRIES) throw new Failure(error);
        delay = await this.#pause(error, delay);
      }
    }
  }

  #metadata() {
    const metadata = new grpc.Metadata();
    if (this.#token) metadata.set('authorization', `Bearer ${this.#token}`);
    return metadata;
  }

  /** Wait longer than last time, and never less than the server asked. Throws a Failure if waiting does not help. */
  async #pause(error, lastDelay) {
    if (!Number.isInteger(error.code)) throw error;
    const failure = new Failure(error);
    if (!failure.isTransient) throw failure;
    const delay = Math.min(Math.max(2 * lastDelay, FIRST_DELAY_MS), MAX_DELAY_MS);
    const wait = Math.max(delay * (0.5 + Math.random() / 2), failure.retryMs ?? 0);
    console.error(`trying again in ${(wait / 1000).toFixed(1)} s: ${failure.message}`);
    await sleep(wait);
    return delay;
  }
}
