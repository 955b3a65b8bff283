import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { parseYaml } from './index.js';

const schema = z.strictObject({
  upstreams: z.array(z.strictObject({ name: z.string(), port: z.number() })),
});
const read =
  (text: string, environment = {}) =>
  () =>
    parseYaml('gateway.yaml', text, schema, environment);

describe('parseYaml', () => {
  it('puts environment variables in', () => {
    const text = 'upstreams:\n  - name: ${NAME:-a}-${TIER}\n    port: 1\n';
    expect(read(text, { TIER: 'x' })()).toEqual({ upstreams: [{ name: 'a-x', port: 1 }] });
    expect(read(text)).toThrow('TIER is not set');
  });

  it('names the line of each fault', () => {
    const text = 'upstreams:\n  - name: a\n    port: high\n  - name: 4\n    port: 1\n    colour: red\n';
    expect(read(text)).toThrow(/gateway\.yaml:3:11: upstreams\.0\.port: .*number/);
    expect(read(text)).toThrow(/gateway\.yaml:4:11: upstreams\.1\.name: .*string/);
    expect(read(text)).toThrow(/colour/);
  });

  it('names the line of broken YAML and of a key that stands twice', () => {
    expect(read('upstreams:\n  - {name: a\n')).toThrow(/gateway\.yaml:\d+:\d+: /);
    expect(read('upstreams: []\nupstreams: []\n')).toThrow(/gateway\.yaml:2:1: /);
  });
});
