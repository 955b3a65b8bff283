import fc from 'fast-check';
import { expect, it } from 'vitest';
import { isExpiredAtSight } from './expired-at-sight.js';
import { encode, keySet, signToken, testKey } from './issuer.fixture.js';
import { RecentTexts } from './recent-texts.js';
import { refusals } from './refusals.js';
import { readToken, splitToken } from './token-structure.js';
import { Problem } from '@sluice/problem';
import { createVerifier } from './verifier.js';

const NOW = 1_800_000_000_000;
const seconds = NOW / 1000;
const claims = {
  iss: 'https://issuer.example',
  aud: ['sluice', 'other'],
  sub: 'user-1',
  guest: true,
  roles: ['user', 'admin'],
  scope: '',
  nothing: null,
  iat: seconds - 1000,
  exp: seconds - 1,
};
const expected = {
  issuer: claims.iss,
  audience: 'sluice',
  algorithms: ['ES256'],
  typ: 'at+jwt',
  clockToleranceMs: 5000,
} as const;
const key = testKey('key-1');
const base64url = (text: string | Uint8Array) => Buffer.from(text as string).toString('base64url');

/** What reading the whole token says. */
function thorough(token: string): Problem | undefined {
  const parts = splitToken(token);
  if (parts instanceof Problem) return parts;
  try {
    readToken(parts, expected, NOW);
    return undefined;
  } catch (problem) {
    return problem as Problem;
  }
}

it('sees that a token as we issue it has expired, to the millisecond', () => {
  const payload = encode(claims);
  expect(isExpiredAtSight(payload, NOW)).toBe(true);
  expect(isExpiredAtSight(payload, (seconds - 1) * 1000)).toBe(true);
  expect(isExpiredAtSight(payload, (seconds - 1) * 1000 - 1)).toBe(false);
});

it.each([
  '{"exp":1,"exp":99999999999}',
  '{"exp":"1"}',
  '{"exp":-1}',
  '{"exp":01}',
  '{"exp":1.5}',
  '{"exp":1e3}',
  '{"a":{"exp":1}}',
  '{"a":"\\"exp\\":1"}',
  '{"a":"\\",\\"exp\\":1,\\"b\\":\\""}',
  '{"\\u0065xp":1}',
  '{"exp":[1]}',
  '{"exp":1,}',
  '{"exp":1',
  '{"exp":1}}',
  '{"exp":1}x',
  '{"exp":1,"a":nul}',
  '{"exp":1,"a":[}',
  '{"exp":1,"a":[1,]}',
  '{"exp":1,"é":1}',
  '{ "exp":1}',
  '{"expo":1}',
  '{}',
  '[]',
  '1',
])('leaves %s to the parser', (payload) => {
  // What an earlier, longer payload left behind is not read.
  isExpiredAtSight(base64url('{"exp":1,"z":[1,2,3],"y":[[]]]]}}}}}}}}}}}}'), NOW);
  expect(isExpiredAtSight(base64url(payload), NOW)).toBe(false);
});

it('says of no mutated payload that it has expired unless reading it in full says so', () => {
  const original = Buffer.from(JSON.stringify(claims));
  const pieces = [
    '"exp":1',
    '"exp":99999999999',
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    '"',
    '\\',
    ' ',
    '0',
    '9',
    '-',
    'e',
    'true',
  ];
  const edit = fc.record({
    at: fc.nat(original.length - 1),
    remove: fc.nat(6),
    insert: fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 3, unit: 'binary' })),
  });
  let seen = 0;
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 3 }), (edits) => {
      let text = original.toString();
      for (const { at, remove, insert } of edits) text = text.slice(0, at) + insert + text.slice(at + remove);
      const payload = base64url(text);
      if (!isExpiredAtSight(payload, NOW)) return;
      seen++;
      expect(thorough(`${encode({})}.${payload}.AAAA`)).toBe(refusals.expired);
    }),
    { numRuns: 3000 },
  );
  expect(seen).toBeGreaterThan(100);
});

it('gives octets that are no text to the parser', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (noise) => {
      const payload = base64url(Buffer.concat([Buffer.from('{"exp":1,"a":"'), noise, Buffer.from('"}')]));
      if (isExpiredAtSight(payload, NOW)) expect(thorough(`e30.${payload}.AAAA`)).toBe(refusals.expired);
    }),
    { numRuns: 2000 },
  );
});

it('the verdict on any mutated token is the one that reading it in full gives', () => {
  const token = signToken(key, claims);
  const letters = 'ABCabc019-_.=+ é';
  const edit = fc.tuple(
    fc.nat(token.length),
    fc.nat(2),
    fc.string({ maxLength: 2, unit: fc.constantFrom(...letters) }),
  );
  fc.assert(
    fc.property(fc.array(edit, { maxLength: 2 }), (edits) => {
      const verifier = createVerifier({ ...expected, keys: async () => keySet(key) });
      let text = token;
      for (const [at, remove, insert] of edits) text = text.slice(0, at) + insert + text.slice(at + remove);
      const wanted = thorough(text);
      // A changed payload may well not have expired; then its signature decides, which is not what this is about.
      if (!wanted) return;
      expect(verifier.judge(text, NOW, false)).toBe(wanted);
      expect(verifier.judge(text, NOW, false)).toBe(wanted);
      expect(verifier.stats()).toMatchObject(wanted === refusals.expired ? { expired: 2 } : { refused: 2 });
    }),
    { numRuns: 1000 },
  );
});

it('leave is asked before a token is looked into, not for one that is known or has plainly expired', async () => {
  const verifier = createVerifier({ ...expected, keys: async () => keySet(key) });
  await expect.poll(() => verifier.ready(NOW)).toBe(true);
  const known = signToken(key, { ...claims, exp: seconds + 60 });
  expect(await verifier.judge(known, NOW, false)).toMatchObject({ subject: 'user-1' });
  const held = new Problem('RATE_LIMIT_EXCEEDED');
  const before = verifier.stats();
  for (const leave of [() => held, async () => held]) {
    for (const text of ['no token', `${'x'.repeat(9000)}`, 'e30.e30.AAAA', signToken(key, { exp: seconds + 9 })]) {
      expect(await verifier.judge(text, NOW, false, leave)).toBe(held);
    }
  }
  expect(verifier.stats()).toEqual(before);
  expect(verifier.judge(known, NOW, false, () => held)).toMatchObject({ subject: 'user-1' });
  expect(verifier.judge(signToken(key, claims), NOW, false, () => held)).toBe(refusals.expired);
});

it('remembers the last text of each place and confuses none', () => {
  const texts = new RecentTexts();
  const some = Array.from({ length: 5000 }, (_, index) => `token-${index}`);
  for (const text of some) texts.add(text);
  expect(texts.has(some.at(-1)!)).toBe(true);
  expect(texts.has('token-5000')).toBe(false);
  expect(some.filter((text) => texts.has(text)).length).toBeLessThanOrEqual(1024);
  expect(new RecentTexts().has('')).toBe(false);
});
