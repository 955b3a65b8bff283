import { Problem } from '@sluice/problem';
import { beforeEach, expect, it, vi } from 'vitest';
import { newApiKey } from './api-key.js';
import type { Caller } from './caller.js';
import { KeyVerifier, type KeyVerifierOptions, type LookedUpKey } from './key-verifier.js';
import { refusals } from './refusals.js';

const MAX_AGE_MS = 300_000;
const NOW = 1_700_000_000_000;
const caller = (id: string, expiresAtMs = Infinity): Caller => ({
  ...{ subject: 'ann', tenant: 'acme', session: '', roles: [], scope: '', guest: false, account: '' },
  ...{ key: { id, methods: [], models: [], networks: [] }, expiresAtMs },
});
const good = (id = 'k1'): LookedUpKey => ({ keyId: id, verdict: caller(id) });
const unknown: LookedUpKey = { keyId: '', verdict: refusals.keyUnknown };
const away = new Problem('UNAVAILABLE', 'away');

let lookUp: ReturnType<typeof vi.fn<(digest: Buffer) => Promise<LookedUpKey>>>;
let key: string;
beforeEach(() => {
  lookUp = vi.fn<(digest: Buffer) => Promise<LookedUpKey>>(async () => good());
  key = newApiKey('live');
});
/** What was asked in the background has been answered by then. */
const turn = () => new Promise((resolve) => setImmediate(resolve));
const verifier = (over: Partial<KeyVerifierOptions> = {}) =>
  new KeyVerifier({ lookUp, environments: ['live', 'test'], maxAgeMs: MAX_AGE_MS, cacheSize: 1000, ...over });

it('refuses what is no key, and keys of another environment, without asking anybody', () => {
  const live = verifier({ environments: ['live'] });
  for (const text of [`${key}0`, key.slice(0, -1), key.replace('live', 'test'), 'slc_', key.toLowerCase()]) {
    expect(live.judge(text, NOW)).toBe(refusals.keyMalformed);
  }
  expect(live.judge(newApiKey('test'), NOW)).toBe(refusals.keyEnvironment);
  expect(lookUp).not.toHaveBeenCalled();
});

it('asks once for all who show the same key, and then no more', async () => {
  const judge = verifier();
  const verdicts = await Promise.all(Array.from({ length: 100 }, () => judge.judge(key, NOW)));
  expect(new Set(verdicts).size).toBe(1);
  expect(judge.judge(key, NOW + 1)).toBe(verdicts[0]);
  expect(lookUp).toHaveBeenCalledTimes(1);
  expect(lookUp.mock.calls[0]![0]).toHaveLength(32);
});

it('asks before it looks whether it may, and not for a key that it knows', async () => {
  const judge = verifier();
  const held = new Problem('RATE_LIMIT_EXCEEDED');
  expect(judge.judge(key, NOW, () => held)).toBe(held);
  expect(await judge.judge(key, NOW, async () => held)).toBe(held);
  expect(lookUp).not.toHaveBeenCalled();
  await judge.judge(key, NOW, () => undefined);
  const leave = vi.fn<() => Problem>(() => held);
  expect(judge.judge(key, NOW, leave)).toMatchObject({ subject: 'ann' });
  expect(leave).not.toHaveBeenCalled();
});

it('remembers that nobody has a key for a second, in which one that was just made begins to work', async () => {
  lookUp.mockResolvedValueOnce(unknown);
  const judge = verifier();
  expect(await judge.judge(key, NOW)).toBe(refusals.keyUnknown);
  expect(judge.judge(key, NOW + 999)).toBe(refusals.keyUnknown);
  expect(await judge.judge(key, NOW + 1000)).toMatchObject({ subject: 'ann' });
  expect(lookUp).toHaveBeenCalledTimes(2);
});

it('goes on with what it knows while nobody can be asked, and no longer than it may', async () => {
  const judge = verifier();
  const known = await judge.judge(key, NOW);
  lookUp.mockRejectedValue(away);
  for (const at of [1, MAX_AGE_MS / 2 + 1, MAX_AGE_MS - 1]) expect(judge.judge(key, NOW + at)).toBe(known);
  expect(await judge.judge(key, NOW + MAX_AGE_MS)).toBe(away);
  expect(await judge.judge(newApiKey('live'), NOW)).toBe(away);
  lookUp.mockResolvedValue(good());
  expect(await judge.judge(key, NOW + MAX_AGE_MS)).toMatchObject({ subject: 'ann' });
});

it('asks again meanwhile from the half of that time on, once', async () => {
  const judge = verifier();
  await judge.judge(key, NOW);
  const later = NOW + MAX_AGE_MS / 2 + 1;
  for (let call = 0; call < 10; call++) judge.judge(key, later);
  expect(lookUp).toHaveBeenCalledTimes(2);
  await turn();
  expect(judge.judge(key, NOW + MAX_AGE_MS)).toMatchObject({ subject: 'ann' });
  lookUp.mockResolvedValue({ keyId: 'k1', verdict: refusals.keyRevoked });
  judge.judge(key, later + MAX_AGE_MS / 2 + 1);
  await turn();
  expect(judge.judge(key, later + MAX_AGE_MS / 2 + 2)).toBe(refusals.keyRevoked);
});

it('forgets a key that it is told of, and no other', async () => {
  const judge = verifier();
  const other = newApiKey('live');
  const known = (await judge.judge(key, NOW)) as Caller;
  lookUp.mockResolvedValue(good('k2'));
  await judge.judge(other, NOW);
  lookUp.mockResolvedValue({ keyId: 'k1', verdict: refusals.keyRevoked });
  expect(judge.stands(known)).toBe(true);
  judge.forget(new Set(['k1']));
  expect(judge.stands(known)).toBe(false);
  expect(await judge.judge(key, NOW + 1)).toBe(refusals.keyRevoked);
  expect(judge.judge(other, NOW + 1)).toMatchObject({ key: { id: 'k2' } });
});

it('does not believe what was read before a change that it was told of meanwhile', async () => {
  const answers: ((answer: LookedUpKey) => void)[] = [];
  lookUp.mockImplementation(() => new Promise((resolve) => answers.push(resolve)));
  const judge = verifier();
  const judging = judge.judge(key, NOW) as Promise<unknown>;
  judge.forget(new Set(['k1']));
  answers[0]!(good());
  await vi.waitFor(() => expect(answers).toHaveLength(2));
  answers[1]!({ keyId: 'k1', verdict: refusals.keyRevoked });
  expect(await judging).toBe(refusals.keyRevoked);
  // A change of another key delays nobody.
  const second = judge.judge(newApiKey('live'), NOW) as Promise<unknown>;
  judge.forget(new Set(['k9']));
  answers[2]!(good('k3'));
  expect(await second).toMatchObject({ key: { id: 'k3' } });
});

it('refuses a key from its end on', async () => {
  lookUp.mockResolvedValue({ keyId: 'k1', verdict: caller('k1', NOW + 10) });
  const judge = verifier();
  expect(await judge.judge(key, NOW)).toMatchObject({ subject: 'ann' });
  expect(judge.judge(key, NOW + 10)).toBe(refusals.keyExpired);
});

it('asks each second while nobody tells of revoked keys', async () => {
  let told = true;
  const judge = verifier({ told: () => told });
  await judge.judge(key, NOW);
  told = false;
  expect(judge.judge(key, NOW + 999)).toMatchObject({ subject: 'ann' });
  expect(judge.judge(key, NOW + 1000)).toBeInstanceOf(Promise);
  expect(lookUp).toHaveBeenCalledTimes(2);
});

it('asks about so many at once and keeps so many, whatever comes', async () => {
  lookUp.mockImplementation(() => new Promise(() => undefined));
  const busy = verifier({ concurrencyMax: 5 });
  const verdicts = Array.from({ length: 6 }, () => busy.judge(newApiKey('live'), NOW));
  expect(verdicts.at(-1)).toBe(refusals.keysBusy);
  lookUp.mockResolvedValue(unknown);
  const small = verifier({ cacheSize: 40 });
  for (let each = 0; each < 300; each++) await small.judge(newApiKey('live'), NOW);
  lookUp.mockImplementation(async () => good(String(Math.random())));
  for (let each = 0; each < 300; each++) await small.judge(newApiKey('live'), NOW);
  expect(small.stats().cacheEntries).toBeLessThanOrEqual(50);
});
