"""A script that used ``Netra.usage`` of netra-sdk, ported by changing its first lines.

Before:

    from netra import Netra

    Netra.init(app_name="report")
    usage = Netra.usage

Methods, arguments and result fields stay the same. One thing differs: errors are raised, where the SDK logs them and
returns nothing. Run it with NETRA_API_KEY and NETRA_OTLP_ENDPOINT set.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta

from netra_otel_bridge import Bridge, BridgeError

usage = Bridge().client()

end = datetime.now(UTC)
start = end - timedelta(days=1)

try:
    slow: Counter[str] = Counter()
    tenants: set[str] = set()
    for trace in usage.iter_traces(start, end, limit=100, sort_field="latency_ms", sort_order="desc"):
        tenants.update([trace.tenant_id] if trace.tenant_id else [])
        if (trace.latency_ms or 0) > 10_000:
            slow[trace.service or "(no service)"] += 1
    for service, count in slow.most_common():
        print(f"{service}: {count} traces took more than 10 s")
    for tenant in sorted(tenants):
        total = usage.get_tenant_usage(tenant, start, end)
        if total is not None:
            print(f"{tenant}: {total.token_count:,} tokens in {total.session_count} sessions, ${total.total_cost:.2f}")
except BridgeError as error:
    raise SystemExit(f"{error}") from error
finally:
    usage.close()
