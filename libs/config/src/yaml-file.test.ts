import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ConfigurationError, faultAt, readYamlFile, YamlFile } from './index.js';

const schema = z.strictObject({
  upstreams: z.array(
    z.strictObject({
      name: z.string(),
      port: z.number(),
      kind: z.enum(['none', 'post']).optional(),
      tls: z.union([z.boolean(), z.strictObject({ ca: z.string() })]).optional(),
    }),
  ),
});

const folder = mkdtempSync(join(tmpdir(), 'sluice yaml '));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'gateway.yaml');
const read =
  (text: string, environment = {}) =>
  () => {
    writeFileSync(file, text);
    return readYamlFile(file, schema, environment);
  };
const faultsOf = (work: () => unknown): string[] => {
  try {
    work();
  } catch (error) {
    if (error instanceof ConfigurationError) return error.faults.map((fault) => fault.replace(`${folder}/`, ''));
    throw error;
  }
  return [];
};

describe('readYamlFile', () => {
  it('puts environment variables in', () => {
    const text = 'upstreams:\n  - name: ${NAME:-a}-${TIER}\n    port: 1\n';
    expect(read(text, { TIER: 'x' })()).toEqual({ upstreams: [{ name: 'a-x', port: 1 }] });
  });

  it('names every fault at once, in the order of the file, with line, key, value, expectation and what was meant', () => {
    const text = `upstreams:
  - name: a
    port: high
  - name: 4
    port: \${PORT}
    prot: red
  - name: \${TIER}-\${name}
    port: 1
    kind: pst
    tls: { caa: x }
  - port: 2
`;
    expect(faultsOf(read(text))).toEqual([
      'gateway.yaml:3:11: upstreams.0.port: "high": expected number',
      'gateway.yaml:4:11: upstreams.1.name: 4: expected string',
      'gateway.yaml:5:11: upstreams.1.port: "${PORT}": PORT is not set and has no default; set it, or write ${PORT:-default}',
      'gateway.yaml:6:5: upstreams.1.prot: unknown key: expected one of name, port, kind, tls; did you mean "port"?',
      'gateway.yaml:7:11: upstreams.2.name: "${TIER}-${name}": TIER is not set and has no default; set it, or write ${TIER:-default}',
      'gateway.yaml:7:11: upstreams.2.name: "${TIER}-${name}": expected ${NAME} or ${NAME:-default}, with a name in capital letters',
      'gateway.yaml:9:11: upstreams.2.kind: "pst": expected one of none, post; did you mean "post"?',
      'gateway.yaml:10:10: upstreams.2.tls.ca: expected string',
      'gateway.yaml:10:12: upstreams.2.tls.caa: unknown key: expected one of ca; did you mean "ca"?',
      'gateway.yaml:11:5: upstreams.3.name: expected string',
    ]);
  });

  it('names the line of broken YAML and of a key that stands twice', () => {
    expect(read('upstreams:\n  - {name: a\n')).toThrow(/gateway\.yaml:\d+:\d+: /);
    expect(read('upstreams: []\nupstreams: []\n')).toThrow(/gateway\.yaml:2:1: /);
  });
});

describe('YamlFile', () => {
  it('finds an item of a list by its name, and never repeats the password of a URL', () => {
    const yaml = YamlFile.parse('x.yaml', 'upstreams:\n  - { name: a }\n  - { name: b, url: 1 }\n');
    const fault = faultAt(['upstreams', 'b', 'url'], { value: 'ftp://me:hunter2@host/', expected: 'https' });
    expect(yaml.error([fault]).message).toBe('x.yaml:3:21: upstreams.b.url: "ftp://…@host/": expected https');
  });
});
