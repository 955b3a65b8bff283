import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { echoDescriptorSet } from '../testdata/echo-server.js';
import { gatewayJsonSchema } from './config/schema.js';
import { routeList } from './route-list.js';

function listed(yaml: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-routes-'));
  try {
    const file = join(folder, 'gateway.yaml');
    writeFileSync(file, yaml);
    return routeList(file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const upstream = `upstreams:
  - name: echo
    address: 127.0.0.1:1
    descriptor_set: ${echoDescriptorSet}
`;

it('lists every rule with its method, upstream and callers', () => {
  const rules = `    http:
      rules: [{ selector: echo.v1.EchoService.Hang, get: /wait }]
    access:
      - { selector: echo.v1.EchoService.Hang, roles: [admin] }
      - { selector: echo.v1.EchoService.Echo, public: true }
auth: { mode: jwt, typ: at+jwt, keys: { jwks_url: 'http://127.0.0.1:1/' } }
`;
  const lines = listed(upstream + rules).split('\n');
  expect(lines).toContainEqual(expect.stringMatching(/^GET +\/wait +\/echo\.v1\.EchoService\/Hang +echo +admin$/));
  expect(lines).toContainEqual(expect.stringMatching(/^POST +\/v1\/echo\/\{name\} .* anyone$/));
  expect(lines).toContainEqual(expect.stringMatching(/^GET +\/v1\/metadata .* signed in$/));
});

it.each([
  [
    'a method that is not there',
    `${upstream}    http: { rules: [{ selector: echo.v1.EchoService.Nope, get: /x }] }\n`,
    'Nope',
  ],
  [
    'two rules for one path',
    `${upstream}    http: { rules: [{ selector: echo.v1.EchoService.Hang, get: /v1/metadata }] }\n`,
    'EchoService.Metadata',
  ],
  [
    'two limits of one name, with the line',
    `${upstream}limits:
  policies:
    - { name: a, dimensions: [ip], limit: 1, window: 1s }
    - { name: a, dimensions: [ip], limit: 1, window: 1s }
`,
    'gateway.yaml:8:15: limits.policies.1.name: policy "a": name: used by another policy too',
  ],
  [
    'a limit for a method that is not there, with the line',
    `${upstream}limits:
  policies:
    - { name: a, dimensions: [ip], limit: 1, window: 1s, match: { rpcs: [echo.v1.EchoService.*, echo.v1.Eco.*] } }
`,
    'gateway.yaml:7:97: limits.policies.0.match.rpcs.1: "echo.v1.Eco.*": expected a method that is served',
  ],
  ['an unknown key', `${upstream}    colour: blue\n`, 'gateway.yaml:'],
  [
    'no descriptor set, with the line',
    upstream.replace('echo.binpb', 'none.binpb'),
    'gateway.yaml:4:21: upstreams.echo.descriptor_set',
  ],
])('refuses %s by name', (_, yaml, named) => expect(() => listed(yaml)).toThrow(named));

it('the JSON Schema for editors is that of the code (print-schema.cli.ts prints it)', () => {
  const file = new URL('../../../config/gateway.schema.json', import.meta.url);
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(JSON.stringify(gatewayJsonSchema())));
});
