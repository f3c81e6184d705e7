#!/usr/bin/env node
// Print usage of tenants and sessions, and the spans of a time range, from a netra-otel-bridge.
import { once } from 'node:events';
import { parseArgs } from 'node:util';

import { connect } from './bridge.js';
import { Failure } from './failure.js';
import { modelOf, spansOf, summary } from './spans.js';

const USAGE = `node main.js usage --from TIME [--until TIME] [--tenant ID]... [--session ID]... [--json]
node main.js spans --from TIME [--until TIME] [--tenant ID] [--count]

  --bridge HOST:PORT  default: 127.0.0.1:9465
  --ca FILE           use TLS, with the certificate authorities in this PEM file
  --tls               use TLS, with the certificate authorities that Node trusts
  --count             count spans by model instead of printing each as JSON

TIME looks like 2026-01-31T00:00:00Z. Set NETRA_BRIDGE_GRPC_TOKEN to the token of the bridge.
`;
const OPTIONS = {
  bridge: { type: 'string', default: '127.0.0.1:9465' },
  ca: { type: 'string' },
  tls: { type: 'boolean', default: false },
  from: { type: 'string' },
  until: { type: 'string' },
  tenant: { type: 'string', multiple: true, default: [] },
  session: { type: 'string', multiple: true, default: [] },
  json: { type: 'boolean', default: false },
  count: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
};

class UsageError extends Error {}

function arguments_() {
  try {
    const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
    if (values.help) return { command: 'help' };
    const [command, ...more] = positionals;
    if (!['usage', 'spans'].includes(command) || more.length) throw new UsageError('say either usage or spans');
    if (values.from === undefined) throw new UsageError('--from is missing');
    const ids = values.tenant.length + values.session.length;
    if (command === 'usage' && ids === 0) throw new UsageError('say whose usage: --tenant or --session');
    if (command === 'spans' && (values.tenant.length > 1 || values.session.length)) {
      throw new UsageError('spans takes one --tenant, and no --session');
    }
    const range = { startTime: timestamp(values.from) };
    if (values.until !== undefined) range.endTime = timestamp(values.until);
    return { command, range, ...values };
  } catch (error) {
    if (error instanceof UsageError || error.code?.startsWith('ERR_PARSE_ARGS')) {
      throw new UsageError(`${error.message}\n\n${USAGE}`);
    }
    throw error;
  }
}

/** Parse a time as a google.protobuf.Timestamp, to the millisecond, the resolution of the bridge's ranges. */
function timestamp(text) {
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new UsageError(`${text} is not a time such as 2026-01-31T00:00:00Z`);
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: (ms - seconds * 1000) * 1e6 };
}

/** Print a line, and wait if the reader does not keep up. */
async function print(line) {
  if (!process.stdout.write(`${line}\n`)) await once(process.stdout, 'drain');
}

async function printUsage(bridge, { range, tenant, session, json }) {
  let code = 0;
  const calls = [
    ...tenant.map((id) => ['tenant', id, () => bridge.getTenantUsage({ tenantId: id, range })]),
    ...session.map((id) => ['session', id, () => bridge.getSessionUsage({ sessionId: id, range })]),
  ];
  for (const [kind, id, call] of calls) {
    try {
      const { tokenCount, requestCount, sessionCount, totalCost } = await call();
      const counts = { tokens: Number(tokenCount), requests: Number(requestCount) };
      if (sessionCount !== undefined) counts.sessions = Number(sessionCount);
      const used = { [kind]: id, ...counts, cost: totalCost };
      const words = Object.entries(counts).map(([name, count]) => `${count} ${name}`);
      await print(json ? JSON.stringify(used) : `${kind} ${id}: ${words.join(', ')}, ${totalCost.toFixed(4)} USD`);
    } catch (error) {
      if (!(error instanceof Failure) || !['TENANT_NOT_FOUND', 'SESSION_NOT_FOUND'].includes(error.reason)) throw error;
      console.error(error.message);
      code = 3;
    }
  }
  return code;
}

async function printSpans(bridge, { range, tenant, count }) {
  let code = 0;
  const counts = new Map();
  const request = { range, query: { tenantId: tenant[0] ?? '' }, profile: 'PROFILE_GENAI' };
  for await (const { tracesData, problems } of bridge.readSpans(request)) {
    for (const { span, resource } of spansOf(tracesData)) {
      const model = modelOf(span) ?? '-';
      if (count) counts.set(model, (counts.get(model) ?? 0) + 1);
      else await print(JSON.stringify(summary(span, resource)));
    }
    for (const problem of problems) {
      console.error(`missing: ${problem}`);
      code = 3;
    }
  }
  for (const [model, spans] of [...counts].sort(([, a], [, b]) => b - a)) await print(`${spans}\t${model}`);
  return code;
}

async function main() {
  const options = arguments_();
  if (options.command === 'help') {
    process.stdout.write(USAGE);
    return 0;
  }
  const bridge = connect(options.bridge, process.env.NETRA_BRIDGE_GRPC_TOKEN, options);
  try {
    return await (options.command === 'usage' ? printUsage(bridge, options) : printSpans(bridge, options));
  } finally {
    bridge.close();
  }
}

// Do not fail when the reader closes the pipe, as in `main.js spans | head`.
process.stdout.on('error', (error) => process.exit(error.code === 'EPIPE' ? 0 : 1));

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error.message);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
