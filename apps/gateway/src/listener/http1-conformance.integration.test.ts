import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { type Http1Case, http1Sections } from '../../testdata/http1-cases.js';
import { parseAnswers, sendRaw } from '../../testdata/raw-http1.js';

/**
 * HTTP/1.1 section by section. A probe follows each request on its connection: it must be answered when the connection lives on,
 * and never when it does not, whatever the two of them look like together (RFC 9112 section 11.2, request smuggling).
 */
const PROBE = 'GET /v1/echo/probe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';

let echo: EchoServer;
let gateway: TestGateway;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, { sizes: { body: '1MiB' } });
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
});

async function check({ bytes, status, closes, text, metadata }: Http1Case) {
  const read = await sendRaw(gateway.port, Buffer.from(bytes + PROBE, 'latin1'), 3000);
  const [answer, ...following] = parseAnswers(read);
  const shown = read.toString('latin1').slice(0, 600);
  expect(answer, shown).toBeDefined();
  const { fields, body, complete } = answer!;
  const field = (name: string) => fields.find(([found]) => found === name)?.[1];
  expect(status, shown).toContain(answer!.status);
  expect(complete, shown).toBe(true);
  if (answer!.status >= 400) {
    expect(field('content-type')).toBe('application/problem+json');
    expect(JSON.parse(body)).toMatchObject({ status: answer!.status, code: expect.any(String) });
    expect(body.length).toBeLessThan(1000);
  }
  if (text !== undefined) expect(JSON.parse(body)).toMatchObject({ name: 'ann', text });
  if (metadata) expect(JSON.parse(body).metadata).toMatchObject(metadata);

  const says = field('connection') === 'close';
  if (closes) expect(says, shown).toBe(true);
  expect(following.map((each) => each.status)).toEqual(says ? [] : [200]);
  if (!says) expect(JSON.parse(following[0]!.body)).toMatchObject({ name: 'probe' });
}

describe.each(http1Sections)('$section', ({ cases }) => {
  it.each(cases)('$name', check);
});
