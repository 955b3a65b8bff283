import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask, protocols } from '../../testdata/client.js';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';

let echo: EchoServer;
let gateway: TestGateway;
beforeAll(async () => {
  echo = await startEchoServer();
  const rules = [
    {
      selector: 'echo.v1.EchoService.Collect',
      post: '/v1/collect',
      body: '*',
      additional_bindings: [{ post: '/v1/{text=**}/collect', body: '*' }],
    },
    { selector: 'echo.v1.EchoService.Chat', post: '/v1/chat/{name}:talk:now', body: '*' },
  ];
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    upstream: { http: { rules }, ignore_unknown_members: true, system_parameters: ['alt', '$*'] },
  });
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
});

describe.each(protocols)('requests over %s', (protocol) => {
  const post = (path: string, body?: string, fields: Record<string, string> = {}) =>
    ask(gateway.port, protocol, { method: 'POST', path, fields, ...(body !== undefined && { body }) });

  it.each([
    ['an array', '[{"text":"a"},\n {"text":"b"}, {"text":"c]"}]'],
    ['values one after another', '{"text":"a"}{"text":"b"} {"text":"c]"}'],
    ['values printed over lines', '{\n  "text": "a"\n}\n{\n  "text": "b"\n}\n{"text":\n"c]"}'],
  ])('a client stream of %s', async (_, body) => {
    expect((await post('/v1/collect', body)).json).toEqual({ messages: 3, last: 'c]' });
    expect((await post('/v1/chat/ann:talk:now', body)).body.toString().match(/"name":"ann"/g)).toHaveLength(3);
  });

  it('an empty upload sends what the path sets', async () => {
    for (const body of [undefined, '', '\n', '[]']) {
      expect((await post('/v1/x/y/collect', body)).json).toEqual({ messages: 1, last: 'x/y' });
    }
    expect((await post('/v1/collect')).json).toEqual({ messages: 0, last: '' });
  });

  it('what the configuration leaves out', async () => {
    const answer = await post('/v1/echo/ann?alt=json&$callback=x', '{"text":"a","nope":{"b":[1]}}');
    expect(answer.json).toMatchObject({ name: 'ann', text: 'a' });
    const refused = await ask(gateway.port, protocol, { path: '/v1/echo/ann?prettyPrint=1' });
    expect(refused).toMatchObject({ status: 400, json: { details: { field: 'prettyPrint' } } });
  });

  it.each(['X-HTTP-Method-Override', 'X-HTTP-Method', 'X-Method-Override'])('%s changes nothing', async (name) => {
    const answer = await post('/v1/metadata', '{}', { [name.toLowerCase()]: 'GET' });
    expect(answer).toMatchObject({ status: 405 });
  });
});

it('curl -d tells how to send JSON, and repeats nothing of it', async () => {
  const url = `${gateway.origin}/v1/echo/ann`;
  const curl = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)('curl', ['-s', url, ...args])).stdout;
  const asForm = await curl('-d', '{"text":"hunter2"}');
  expect(JSON.parse(asForm)).toMatchObject({ status: 415, code: 'UNSUPPORTED_MEDIA_TYPE' });
  expect(asForm).toContain('content-type: application/json');
  const untyped = await curl('-d', 'hunter2=hunter2', '-H', 'content-type:');
  expect(JSON.parse(untyped)).toMatchObject({ status: 400, code: 'INVALID_JSON' });
  expect(untyped).toContain('no Content-Type');
  expect(asForm + untyped).not.toContain('hunter2');
  expect(JSON.parse(await curl('--json', '{"text":"a"}'))).toMatchObject({ text: 'a' });
});
