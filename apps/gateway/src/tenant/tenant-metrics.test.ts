import { Registry } from '@sluice/telemetry';
import { beforeEach, describe, expect, it } from 'vitest';
import { type GatewayConfig, gatewayConfigSchema } from '../config/schema.js';
import { TenantMetrics } from './tenant-metrics.js';

type Tenants = GatewayConfig['tenants'];
const tenants = (written: object): Tenants =>
  gatewayConfigSchema.parse({ upstreams: [{ name: 'a', address: 'a:1', descriptor_set: 'a' }], tenants: written })
    .tenants;

let registry: Registry;
let metrics: TenantMetrics;
let now: number;
beforeEach(() => {
  registry = new Registry();
  metrics = new TenantMetrics(registry);
  now = 1;
});
const MINUTE = 60_000;

const call = (config: Tenants, tenant: string, times = 1, status = 200, ms: number | undefined = 20) => {
  for (let left = times; left > 0; left--) metrics.count(config, tenant, status, ms, now);
};
/** Calls by `tier/tenant`, where there are any or a series stands ready. */
async function shown(outcome = 'served'): Promise<Record<string, number>> {
  const { values } = await registry.getSingleMetric('gateway_tenant_requests_total')!.get();
  const of = values.filter(({ labels }) => labels['outcome'] === outcome);
  return Object.fromEntries(of.map(({ labels, value }) => [`${labels['tier']}/${labels['tenant']}`, value]));
}

describe('who has series', () => {
  it('each of tier vip from the start, so many of the others, and the rest together by tier', async () => {
    const config = tenants({ tiers: { vip: ['acme', 'globex'], gold: ['g1', 'g2'] }, busiest: 2 });
    for (const name of ['acme', 's1', 'g1', 's2', 's3', 's4', 'g2']) call(config, name);
    expect(await shown()).toEqual({
      'vip/acme': 1,
      'vip/globex': 0,
      'standard/s1': 1,
      'gold/g1': 1,
      'standard/other': 3,
      'gold/other': 1,
    });
  });

  it('those who are busiest take the places of those who no longer are, and no series moves back', async () => {
    const config = tenants({ busiest: 1 });
    call(config, 'first', 3);
    call(config, 'busy', 10);
    expect(await shown()).toEqual({ 'standard/first': 3, 'standard/other': 10 });
    now += MINUTE;
    call(config, 'busy', 5);
    call(config, 'first', 1);
    expect(await shown()).toEqual({ 'standard/busy': 5, 'standard/other': 11 });
  });

  it('whoever nobody vouches for, and who is called so, is one of the others', async () => {
    const config = tenants({});
    for (const name of ['?', 'other', '?']) call(config, name);
    expect(await shown()).toEqual({ 'standard/other': 3 });
  });

  it('ten thousand are compared at most, and who does not call any more makes room', async () => {
    const config = tenants({ busiest: 1 });
    for (let index = 0; index < 20_000; index++) call(config, `t${index}`);
    expect(Object.keys(await shown())).toHaveLength(2);
    for (let passed = 0; passed < 3; passed++) {
      now += MINUTE;
      call(config, 'late', 5);
    }
    expect(await shown()).toMatchObject({ 'standard/late': 5, 'standard/other': 20_009 });
  });

  it('another configuration gives other tiers', async () => {
    call(tenants({}), 'acme');
    call(tenants({ tiers: { vip: ['acme'] } }), 'acme');
    expect(await shown()).toEqual({ 'vip/acme': 1 });
  });
});

it('calls are counted by what became of them', async () => {
  const config = tenants({});
  for (const status of [200, 404, 501, 429, 500, 503, 504, 499]) call(config, 'acme', 1, status);
  const counts = await Promise.all(['served', 'refused', 'failed', 'left'].map((outcome) => shown(outcome)));
  expect(counts.map((count) => count['standard/acme'])).toEqual([3, 1, 3, 1]);
});

it('durations are those of calls that were served or failed, and were no streams', async () => {
  const config = tenants({});
  call(config, 'acme', 2, 200, 20);
  call(config, 'acme', 1, 504, 9000);
  call(config, 'acme', 1, 429, 1);
  call(config, 'acme', 1, 499, 1);
  metrics.count(config, 'acme', 200, undefined, now);
  const text = await registry.metrics();
  expect(text).toContain('gateway_tenant_request_seconds_bucket{tier="standard",tenant="acme",le="0.01"} 0');
  expect(text).toContain('gateway_tenant_request_seconds_bucket{tier="standard",tenant="acme",le="0.025"} 2');
  expect(text).toContain('gateway_tenant_request_seconds_bucket{tier="standard",tenant="acme",le="+Inf"} 3');
  expect(text).toContain('gateway_tenant_request_seconds_count{tier="standard",tenant="acme"} 3');
});
