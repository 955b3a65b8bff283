import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { type Http1Case, http1Sections } from '../../testdata/http1-cases.js';
import { http1SmugglingSections } from '../../testdata/http1-smuggling-cases.js';
import { open, parseAnswers, sendRaw } from '../../testdata/raw-http1.js';

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

/** The statuses of all answers when the bytes arrive in pieces, each in a segment of its own as far as that can be had. */
async function statuses(bytes: string, cuts: readonly number[]): Promise<string> {
  const { socket, read } = open(gateway.port);
  socket.setNoDelay(true);
  const all = Buffer.from(bytes + PROBE, 'latin1');
  let from = 0;
  for (const to of [...cuts, all.length]) {
    if (!socket.destroyed) socket.write(all.subarray(from, to));
    from = to;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  return parseAnswers(await read(3000))
    .map(({ status }) => status)
    .join();
}

const sections = [...http1Sections, ...http1SmugglingSections];

describe.each(sections)('$section', ({ cases }) => {
  it.each(cases)('$name', check);

  it('is the same wherever it is cut', async () => {
    const differing: string[] = [];
    const compare = async ({ name, bytes }: Http1Case) => {
      const whole = await statuses(bytes, []);
      const last = bytes.length - 1;
      // Into three, and its end octet by octet.
      const thirds = [Math.floor(last / 3) + 1, Math.floor((last * 2) / 3) + 1];
      const octets = Array.from({ length: Math.min(40, last) }, (_, index) => bytes.length - index).reverse();
      for (const cuts of [thirds, octets]) {
        const cut = await statuses(bytes, cuts);
        if (cut !== whole) differing.push(`${name}: ${whole} in one piece, ${cut} cut at ${cuts.join()}`);
      }
    };
    for (let at = 0; at < cases.length; at += 16) await Promise.all(cases.slice(at, at + 16).map(compare));
    expect(differing).toEqual([]);
  });
});

it('a request means the same whatever came before it on its connection', async () => {
  /** What an answer says, but for what differs from call to call. */
  const said = (bytes: Buffer) =>
    parseAnswers(bytes).map(
      ({ status, body }) => `${status} ${body.replaceAll(/[0-9a-f]{16,}|"deadlineMs":"\d+"/g, '')}`,
    );
  const alone: { bytes: string; answer: string }[] = [];
  for (const { bytes } of sections.flatMap(({ cases }) => cases)) {
    const [answer, probe] = said(await sendRaw(gateway.port, Buffer.from(bytes + PROBE, 'latin1'), 3000));
    if (probe !== undefined) alone.push({ bytes, answer: answer! });
  }
  expect(alone.length).toBeGreaterThan(60);
  // Each after every other one that is so far from it in the list, and once after itself.
  for (const step of [1, 2, 7, 31]) {
    const order = alone.map((_, index) => alone[(index * step) % alone.length]!).flatMap((each) => [each, each]);
    const sent = Buffer.from(order.map(({ bytes }) => bytes).join('') + PROBE, 'latin1');
    const together = said(await sendRaw(gateway.port, sent, 5000));
    expect(together.slice(0, -1)).toEqual(order.map(({ answer }) => answer));
  }
});
