import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { echoDescriptorSet } from '../../testdata/echo-server.js';
import { checkPolicies } from './check-policies.js';
import type { Accountable } from './review.js';

const folder = mkdtempSync(join(tmpdir(), 'sluice policies '));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const NOW = Date.parse('2027-01-15T12:00Z');
const service = 'echo.v1.EchoService';
const jwt = "{ mode: jwt, typ: at+jwt, keys: { jwks_url: 'http://127.0.0.1:1/' } }";
const everything = 'name: all, dimensions: [ip], algorithm: sliding_window, limit: 100, window: 1m';

function written(policies: readonly string[], { review = '', upstream = '', rest = '', auth = jwt } = {}): string {
  const file = join(folder, 'gateway.yaml');
  writeFileSync(
    file,
    `upstreams:
  - name: echo
    address: 127.0.0.1:1
    descriptor_set: ${echoDescriptorSet}
    ${upstream}
auth: ${auth}
grpc: { health: false, reflection: false }
${rest}
limits:
  review: { ${review} }
  policies:
${policies.map((policy) => `    - { ${policy} }`).join('\n')}
`,
  );
  return file;
}

/** `severity rule: key: message` of each finding. */
function found(policies: readonly string[], more: Parameters<typeof written>[1] = {}, require: Accountable[] = []) {
  const { findings, ok } = checkPolicies(written(policies, more), { require, now: NOW });
  expect(ok).toBe(findings.every(({ severity }) => severity === 'warning'));
  return findings.map(({ severity, rule, key, text }) => `${severity} ${rule}: ${text.slice(text.indexOf(key))}`);
}
const open = `access: [{ selector: ${service}.Metadata, public: true }]`;

describe('methods that anyone may call', () => {
  it('are limited by a policy for all calls', () => {
    expect(found([everything], { upstream: open })).toEqual([]);
  });

  it.each([
    ['that is in shadow mode', `${everything}, shadow: true, expires: 2027-12-31`],
    ['of other methods', `${everything}, match: { except_rpcs: [${service}.Metadata] }`],
    ['for some hosts', `${everything}, match: { hosts: [a.example] }`],
  ])('are not by one %s: the method, its ways and the remedies', (_, policy) => {
    const [finding, ...others] = found([policy, 'name: other, dimensions: [user], limit: 1, window: 1m'], {
      upstream: open,
    }).filter((text) => text.includes(service));
    expect(finding).toBe(
      `error unlimited: limits.policies: ${service}.Metadata (gRPC, GET /v1/metadata) is public and has no limit that holds for all its calls: expected a policy without shadow that matches it, or a reason under limits.review.unlimited`,
    );
    expect(others).toEqual([]);
  });

  it('by gRPC are another way to the same method', () => {
    const [finding] = found([`${everything}, match: { methods: [GET] }`], { upstream: open });
    expect(finding).toContain(`${service}.Metadata (gRPC) is public`);
  });

  it('are limited by policies for all hosts that there are', () => {
    const policy = `${everything}, match: { hosts: [a.example, '*.b.example'] }`;
    const own =
      'access: [{ selector: echo.v1.EchoService.Metadata, public: true }]\n    hosts: [a.example, c.b.example]';
    expect(found([policy], { upstream: own }).filter((text) => text.includes(service))).toEqual([]);
  });

  it('may have a reason, which must be needed', () => {
    const health = "{ rpcs: [sluice.gateway.v1.GatewayService.GetHealth], reason: 'cheap' }";
    const policy = `${everything}, match: { rpcs: [${service}.Echo] }`;
    const review = `unlimited: [${health}, { rpcs: [${service}.Metadata], reason: 'cheap' }]`;
    expect(found([policy], { upstream: open, review })).toEqual([]);
    expect(found([everything], { upstream: open, review: `unlimited: [{ rpcs: [${service}.*], reason: x }]` })).toEqual(
      [
        `error no-effect: limits.review.unlimited.0.rpcs.0: "${service}.*": expected a method that anyone may call and no policy limits: there is nothing to excuse`,
      ],
    );
  });

  it('are all where nobody is asked who he is', () => {
    const findings = found([`${everything}, match: { rpcs: [${service}.Echo] }`], { auth: '{ mode: none }' });
    expect(findings.some((text) => text.includes(`${service}.Count (gRPC, GET`))).toBe(true);
    expect(findings.some((text) => text.includes(`${service}.Echo `))).toBe(false);
  });
});

describe('a policy without effect', () => {
  const sliding = (name: string, more: string) => `name: ${name}, algorithm: sliding_window, ${more}`;
  const noEffect = (policies: string[]) =>
    found([`${everything.replace('limit: 100', 'limit: 9999')}`, ...policies])
      .filter((text) => text.startsWith('error no-effect'))
      .map((text) =>
        /limits\.policies\.(\w+)\.limit: \d+: expected a limit that can refuse: (\w+) /
          .exec(text)!
          .slice(1)
          .join(' by '),
      );

  it.each<[string, string[], string[]]>([
    [
      'is behind a stricter one for the same calls',
      [
        sliding('a', 'dimensions: [user], limit: 50, window: 1m'),
        sliding('b', 'dimensions: [user], limit: 60, window: 1m'),
      ],
      ['b by a'],
    ],
    [
      'is behind one with fewer buckets',
      [
        sliding('a', 'dimensions: [user, endpoint], limit: 50, window: 1m'),
        sliding('b', 'dimensions: [user], limit: 50, window: 1m'),
      ],
      ['a by b'],
    ],
    [
      'is the second of two alike',
      [
        sliding('a', 'dimensions: [user], limit: 50, window: 1m'),
        sliding('b', 'dimensions: [user], limit: 50, window: 1m'),
      ],
      ['b by a'],
    ],
    [
      'admits in an hour what another does in a minute',
      [
        sliding('a', 'dimensions: [user], limit: 5, window: 1h'),
        sliding('b', 'dimensions: [user], limit: 6, window: 1m'),
      ],
      ['b by a'],
    ],
    [
      'is a bucket larger than another',
      [
        'name: a, dimensions: [user], limit: 5, window: 1s, burst: 5',
        'name: b, dimensions: [user], limit: 6, window: 1s, burst: 10',
      ],
      ['b by a'],
    ],
    [
      'is none: more in a burst, less in a minute',
      [
        'name: a, dimensions: [user], limit: 60, window: 1m, burst: 100',
        sliding('b', 'dimensions: [user], limit: 120, window: 1m'),
      ],
      [],
    ],
    [
      'is none: fewer in a second, more in a minute',
      [
        sliding('a', 'dimensions: [user], limit: 10, window: 1s'),
        sliding('b', 'dimensions: [user], limit: 100, window: 1m'),
      ],
      [],
    ],
    [
      'is none: other buckets',
      [
        sliding('a', 'dimensions: [user], limit: 5, window: 1m'),
        sliding('b', 'dimensions: [tenant], limit: 6, window: 1m'),
      ],
      [],
    ],
    [
      'is none: other methods as well',
      [
        sliding('a', `dimensions: [user], limit: 5, window: 1m, match: { rpcs: [${service}.Echo] }`),
        sliding('b', 'dimensions: [user], limit: 6, window: 1m'),
      ],
      [],
    ],
    [
      'is none: the stricter one is tried only',
      [
        sliding('a', 'dimensions: [user], limit: 5, window: 1m, shadow: true'),
        sliding('b', 'dimensions: [user], limit: 6, window: 1m'),
      ],
      [],
    ],
    [
      'is none: the stricter one is for guests',
      [
        sliding('a', 'dimensions: [user], limit: 5, window: 1m, match: { callers: [guest] }'),
        sliding('b', 'dimensions: [user], limit: 6, window: 1m'),
      ],
      [],
    ],
    [
      'counts calls, not units',
      [
        sliding('a', 'dimensions: [user], limit: 50, window: 1m, cost: 10'),
        sliding('b', 'dimensions: [user], limit: 20, window: 1m'),
      ],
      ['b by a'],
    ],
  ])('%s', (_, policies, expected) => expect(noEffect(policies)).toEqual(expected));
});

describe('owner and expiry', () => {
  it('are asked for where the file or whoever checks does', () => {
    expect(found([everything])).toEqual([]);
    expect(found([everything], { review: 'require: [owner]' })).toEqual([
      'error owner: limits.policies.all.owner: expected an owner, such as team-identity',
    ]);
    expect(found([`${everything}, owner: team-a`], { review: 'require: [owner]' }, ['expires'])).toEqual([
      'error expires: limits.policies.all.expires: expected a day, such as 2027-06-30',
    ]);
  });

  it.each([
    [
      '2026-12-31',
      ['error expires: limits.policies.all.expires: "2026-12-31": expected a day to come, or the policy to go'],
    ],
    ['2027-01-15', ['warning expires: limits.policies.all.expires: "2027-01-15": expected a later day, soon']],
    ['2027-02-15', []],
  ])('a policy that is good until %s', (day, expected) => {
    expect(found([`${everything}, expires: ${day}`])).toEqual(expected);
  });

  it('a policy that is only tried should say until when', () => {
    const findings = found([everything, 'name: tried, dimensions: [user], limit: 1, window: 1m, shadow: true']);
    expect(findings).toEqual([
      'warning expires: limits.policies.tried.expires: tried is in shadow mode and refuses nobody: expected a day until when it is tried',
    ]);
  });

  it('what is no day does not start', () => {
    expect(() => checkPolicies(written([`${everything}, expires: 2027-02-30`]), { require: [], now: NOW })).toThrow(
      'expected a day such as 2027-06-30',
    );
  });
});

describe('npm run policies -- check', () => {
  const cli = fileURLToPath(new URL('../../dist/limit/policies.cli.js', import.meta.url));
  const run = (...args: string[]) => spawnSync(process.execPath, [cli, ...args], { encoding: 'utf8' });

  it('says what it found and where, for people and for programs, by exit codes', () => {
    const good = run('check', written([everything]));
    expect([good.status, good.stdout]).toEqual([
      0,
      expect.stringContaining('policies: 1, public methods: 1; nothing to object to'),
    ]);
    const file = written([`${everything}, match: { rpcs: [${service}.Echo] }`], { upstream: open });
    const bad = run('check', file);
    expect(bad.status).toBe(1);
    expect(bad.stdout).toMatch(/^error \(unlimited\): .*gateway\.yaml:12:5: limits\.policies: echo\.v1\./m);
    const json = run('check', file, '--json', '--require', 'owner');
    expect(json.status).toBe(1);
    expect(JSON.parse(json.stdout)).toMatchObject({ ok: false, policies: 1, findings: expect.any(Array) });
    expect(run('check', file, '--require', 'colour').stderr).toContain('--require colour: expected owner or expires');
    expect(run('check', file, '--require', 'colour').status).toBe(64);
    expect(run('chek').status).toBe(64);
    writeFileSync(file, 'upstreams: []\n');
    expect(run('check', file).status).toBe(78);
    expect(JSON.parse(run('check', file, '--json').stdout)).toMatchObject({ ok: false, faults: expect.any(Array) });
  });

  it('finds nothing in the configuration that we ship', () => {
    const shipped = fileURLToPath(new URL('../../../../config/gateway.yaml', import.meta.url));
    expect(checkPolicies(shipped, { require: [], now: NOW }).findings).toEqual([]);
  });
});
