import { describe, expect, it } from 'vitest';
import { gatewayConfigSchema } from './schema.js';

const upstream = (over: object) => ({ upstreams: [{ name: 'a', address: 'a:1', descriptor_set: 'a', ...over }] });
const faults = (config: object) =>
  gatewayConfigSchema.safeParse(config).error?.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);

describe('times', () => {
  it.each(['0s', '0ms', '00h', '-1s', '1', 'never', 'None'])('a time limit of %s is refused', (value) => {
    const times = { timeout: value, stream_timeout: value, timeouts: { '*': value }, streams: { heartbeat: value } };
    expect(faults(upstream(times))).toHaveLength(4);
    for (const fault of faults(upstream(times))!) expect(fault).toContain('expected a duration above zero');
    const own = ['headers', 'request', 'idle', 'send', 'settings', 'max'];
    const timeouts = Object.fromEntries(own.map((name) => [name, value]));
    expect(faults({ ...upstream({}), timeouts })).toHaveLength(own.length);
  });

  it('none is no limit, for streams and by selector', () => {
    const times = { stream_timeout: 'none', timeouts: { 'a.B.Watch': 'none', 'a.B.*': '007s' } };
    expect(gatewayConfigSchema.parse(upstream(times)).upstreams[0]).toMatchObject({
      stream_timeout: Infinity,
      timeouts: { 'a.B.Watch': Infinity, 'a.B.*': 7000 },
    });
    expect(faults(upstream({ timeout: 'none' }))).toHaveLength(1);
  });
});

it('metadata that frame an answer are refused as response_headers', () => {
  for (const field of ['Content-Length', 'connection', 'transfer-encoding', 'content-type', 'x-http-code']) {
    expect(faults(upstream({ response_headers: [field] }))).toEqual([
      'upstreams.0.response_headers.0: expected a field that does not frame or type the answer',
    ]);
  }
});
