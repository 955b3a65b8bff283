/**
 * What the verdict on a token costs: CPU time per call of a cached valid token, expired tokens (the same one, and each another one),
 * forged tokens (the same and others), and new valid tokens; in alternating rounds, as medians, beside the cached valid one.
 *
 *   npm run bench identity
 */
import { type Caller, createVerifier, KeyVerifier, newApiKey, type TokenVerifier } from '@sluice/identity';

/** The benchmark runs as it stands, without a build, so it names the file that there is. */
const fixture = String(new URL('./issuer.fixture.ts', import.meta.url));
const { keySet, signToken, testKey } = (await import(fixture)) as typeof import('./issuer.fixture.js');

const ROUNDS = 7;
const NOW = Date.now();
const seconds = Math.floor(NOW / 1000);
const key = testKey('key-1');
const forger = testKey('key-1');
const claims = (jti: number, exp = seconds + 900) => ({
  iss: 'https://issuer.example',
  aud: 'sluice',
  sub: '3f0e7a8c-1f4e-4d7e-9d55-0f6a3a1c9b11',
  sid: '8d1c7a90-77f1-4f0d-8b4e-2c7d6f3a1b22',
  tid: 'default',
  client_id: 'sluice',
  roles: ['user'],
  scope: '',
  iat: seconds - 10,
  exp,
  jti: `0b1f0f7e-0000-4000-8000-${String(jti).padStart(12, '0')}`,
});

/** A text as it comes from a socket: a string that no one has hashed yet. */
const fresh = (token: string) => Buffer.from(token).toString('latin1');

interface Case {
  readonly name: string;
  readonly tokens: readonly string[];
  readonly calls: number;
}

const many = (count: number, make: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => make(index));

const cases: readonly Case[] = [
  { name: 'valid, cached', tokens: many(500, (index) => signToken(key, claims(index))), calls: 50_000 },
  {
    name: 'expired, the same again',
    tokens: many(500, (index) => signToken(key, claims(index, seconds - 1))),
    calls: 50_000,
  },
  {
    name: 'expired, never seen',
    tokens: many(5000, (index) => signToken(key, claims(index, seconds - 1))),
    calls: 5000,
  },
  { name: 'forged, the same again', tokens: many(500, (index) => signToken(forger, claims(index))), calls: 50_000 },
  { name: 'forged, never seen', tokens: many(300, (index) => signToken(forger, claims(index))), calls: 300 },
  { name: 'valid, never seen', tokens: many(300, (index) => signToken(key, claims(1e6 + index))), calls: 300 },
];

const newVerifier = () =>
  createVerifier({
    issuer: 'https://issuer.example',
    audience: 'sluice',
    typ: 'at+jwt',
    keys: async () => keySet(key),
  });

async function run(verifier: TokenVerifier, tokens: readonly string[], calls: number): Promise<number> {
  const texts = many(calls, (index) => fresh(tokens[index % tokens.length]!));
  const before = process.cpuUsage();
  for (const text of texts) {
    try {
      const verdict = verifier.verify(text, NOW);
      if (verdict instanceof Promise) await verdict;
    } catch {
      // A refusal is the point.
    }
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / calls;
}

const rows = new Map<string, number[]>();
for (let round = 0; round < ROUNDS; round++) {
  for (const { name, tokens, calls } of cases) {
    const verifier = newVerifier();
    await run(verifier, name.includes('never') ? cases[0]!.tokens.slice(0, 1) : tokens, 500);
    rows.set(name, [...(rows.get(name) ?? []), await run(verifier, tokens, calls)]);
  }
}
const caller: Caller = {
  ...{ subject: 'ann', tenant: 'default', session: '', roles: [], scope: '', guest: false, account: '' },
  ...{ key: { id: 'k', methods: [], models: [], networks: [] }, expiresAtMs: Infinity },
};
/** API keys that are known, judged as tokens are. */
async function runKeys(calls: number): Promise<number> {
  const verifier = new KeyVerifier({
    lookUp: async () => ({ keyId: 'k', verdict: caller }),
    environments: ['live'],
    maxAgeMs: 300_000,
    cacheSize: 20_000,
  });
  const keys = many(500, () => newApiKey('live'));
  for (const text of keys) await verifier.judge(text, NOW);
  const texts = many(calls, (index) => fresh(keys[index % keys.length]!));
  const before = process.cpuUsage();
  for (const text of texts) if (verifier.judge(text, NOW) !== caller) throw new Error('the key is not known');
  const { user, system } = process.cpuUsage(before);
  return (user + system) / calls;
}
rows.set('API key, cached', []);
for (let round = 0; round < ROUNDS; round++) {
  rows.get('API key, cached')!.push(await runKeys(50_000));
}
const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
const base = median(rows.get('valid, cached')!);
for (const [name, values] of rows) {
  console.log(
    `${name.padEnd(26)} ${median(values).toFixed(2).padStart(8)} µs  ${(median(values) / base).toFixed(2)} × cached`,
  );
}
