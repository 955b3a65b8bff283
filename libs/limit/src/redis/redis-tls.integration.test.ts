import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { compilePolicies, openRedisStore, type RedisTls } from '../index.js';
import { freePort, redisMissing, startRedis, type TestRedis } from '@sluice/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const pem = (name: string) =>
  fileURLToPath(new URL(`../../../../apps/gateway/testdata/tls/${name}.pem`, import.meta.url));
const [cert, key] = [readFileSync(pem('cert')), readFileSync(pem('key'))];

describe.skipIf(redisMissing)('a Redis of rediss:// that asks for a certificate', () => {
  let redis: TestRedis;
  let url: string;
  beforeAll(async () => {
    const port = await freePort();
    redis = await startRedis([
      ...['--tls-port', String(port), '--tls-cert-file', pem('cert'), '--tls-key-file', pem('key')],
      ...['--tls-ca-cert-file', pem('cert'), '--tls-auth-clients', 'yes'],
    ]);
    url = `rediss://127.0.0.1:${port}`;
  });
  afterAll(() => redis?.stop());

  it.each<[string, RedisTls, string]>([
    ['its authority and a certificate of ours', { ca: cert, cert, key }, 'store'],
    ['its authority alone', { ca: cert }, 'mode'],
    ['neither', {}, 'mode'],
  ])('with %s', async (_, tls, by) => {
    const store = await openRedisStore(url, { tls, answerTimeoutMs: 10_000 });
    try {
      const [policy] = compilePolicies([
        { name: 'p', dimensions: ['ip'], algorithm: 'sliding_window', limit: 1, windowMs: 1000 },
      ]);
      expect(await store.decide([{ policy: policy!, key: 'a', cost: 1, shadow: false }])).toMatchObject({ by });
    } finally {
      await store.close();
    }
  });

  it('certificates beside a URL without TLS are refused', async () => {
    await expect(openRedisStore(redis.url, { tls: { ca: cert } })).rejects.toThrow('expected rediss in place of redis');
  });
});
