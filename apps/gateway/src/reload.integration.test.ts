import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { get as httpGet, type IncomingMessage } from 'node:http';
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { descriptorSetPath } from '@sluice/contract';
import { type Logger, Registry } from '@sluice/telemetry';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ask } from '../testdata/client.js';
import { echoDescriptorSet } from '../testdata/echo-server.js';
import { startIssuer } from '../testdata/issuer.js';
import { ECHO, GRPC, message, type ScriptedUpstream, startScriptedUpstream } from '../testdata/scripted-upstream.js';
import { GatewayService } from './gateway.service.js';

const TAKEN = 'the changed configuration is in force';
const AS_IT_WAS = 'the configuration is as it was';

let directory: string;
let file: string;
let upstream: ScriptedUpstream;
let service: GatewayService;
let port: number;
/** What the gateway has logged. */
let lines: string[];
/** Streams of `Count` that are open at the service, and the connections that calls came over. */
let watches: ServerHttp2Stream[];
let connections: Set<ServerHttp2Session>;

const configuration = (over = '', more = '') => `
upstreams:
  - name: echo
    address: ${upstream.address}
    descriptor_set: ${echoDescriptorSet}
${over}
timeouts: { max: 1s }
${more}
`;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port: free } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return free;
}

beforeEach(async () => {
  lines = [];
  watches = [];
  connections = new Set();
  upstream = await startScriptedUpstream();
  upstream.script = (stream) => {
    connections.add(stream.session as ServerHttp2Session);
    stream.respond(GRPC, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    if (!String(upstream.latest[':path']).endsWith('/Count')) return void stream.end(ECHO);
    watches.push(stream);
    return void stream.write(ECHO);
  };
  directory = mkdtempSync(join(tmpdir(), 'sluice-reload-'));
  file = join(directory, 'gateway.yaml');
  writeFileSync(file, configuration());
  port = await freePort();
  const log = (members: object | string, message = '') => void lines.push(`${message} ${JSON.stringify(members)}`);
  const logger = { info: log, warn: log, error: log, isLevelEnabled: () => false } as unknown as Logger;
  const values = {
    GATEWAY_CONFIG: file,
    GATEWAY_HOST: '127.0.0.1',
    GATEWAY_PORT: port,
    GATEWAY_MAX_CONNECTIONS: 100,
    RATE_LIMIT_ENABLED: true,
    SHUTDOWN_GRACE_SECONDS: 0,
  } as unknown as ConstructorParameters<typeof GatewayService>[0];
  service = new GatewayService(values, logger, new Registry());
  await service.start();
});
afterEach(async () => {
  await service.onApplicationShutdown();
  await upstream.stop();
  rmSync(directory, { recursive: true });
});

/** A stream over REST of which one message has come; `next` waits for what comes after it. */
async function watch(headers = {}): Promise<{ next: () => Promise<string>; response: IncomingMessage }> {
  const request = httpGet({ port, host: '127.0.0.1', path: '/v1/count/1', headers, agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.setEncoding('utf8');
  const next = async () => ((await once(response, 'data')) as [string])[0];
  expect(await next()).toContain('"name":"x"');
  return { next, response };
}

const logged = (text: string) => lines.filter((line) => line.includes(text)).length;
const call = async () => expect((await ask(port, 'HTTP/1.1', { path: '/v1/echo/a' })).status).toBe(200);

describe('a stream that runs while the configuration is read again', () => {
  it.each<[string, () => void]>([
    ['by a touch of the file', () => utimesSync(file, new Date(), new Date())],
    ['by a write of the same', () => writeFileSync(file, configuration())],
    ['after a change of a comment', () => writeFileSync(file, `# another\n${configuration()}`)],
    ['by SIGHUP', () => void process.emit('SIGHUP')],
  ])('%s, which changes nothing at all', async (_, change) => {
    const { next } = await watch();
    change();
    await expect.poll(() => logged(AS_IT_WAS), { timeout: 10_000 }).toBe(1);
    expect(logged(TAKEN)).toBe(0);
    watches[0]!.write(ECHO);
    expect(await next()).toContain('"name":"x"');
    await call();
    expect(connections.size).toBe(1);
  });

  it('after a change that is not about its channel goes on over it, and new calls with it', async () => {
    const { next } = await watch();
    writeFileSync(
      file,
      configuration('    path_prefix: ""\n    response_headers: [x-a]', 'errors: { format: status }'),
    );
    await expect.poll(() => logged(TAKEN), { timeout: 10_000 }).toBe(1);
    await call();
    expect(connections.size).toBe(1);
    watches[0]!.write(ECHO);
    expect(await next()).toContain('"name":"x"');
  });

  it('after the PEM file of another upstream has changed goes on, and new calls with it over its channel', async () => {
    const ca = join(directory, 'ca.pem');
    const other =
      '  - { name: other, address: "127.0.0.1:1", descriptor_set: SET, services: [sluice.postcard.v1.PostcardService], tls: { ca: ca.pem } }';
    const certificate = readFileSync(new URL('../testdata/tls/cert.pem', import.meta.url), 'utf8');
    writeFileSync(ca, certificate);
    writeFileSync(file, configuration(other.replace('SET', descriptorSetPath)));
    await expect.poll(() => logged(TAKEN), { timeout: 10_000 }).toBe(1);
    const { next } = await watch();
    writeFileSync(ca, `${certificate}\n`);
    await expect.poll(() => logged(TAKEN), { timeout: 10_000 }).toBe(2);
    watches[0]!.write(ECHO);
    expect(await next()).toContain('"name":"x"');
    await call();
    expect(connections.size).toBe(1);
  });

  it.each<[string, () => string]>([
    ['how it is called', () => configuration('    max_message: 1MiB')],
    ['its name', () => configuration().replace('name: echo', 'name: other')],
  ])('after a change of %s goes on over the old channel, which is closed when it has ended', async (_, changed) => {
    const { next, response } = await watch();
    writeFileSync(file, changed());
    await expect.poll(() => logged(TAKEN), { timeout: 10_000 }).toBe(1);
    await call();
    expect(connections.size).toBe(2);
    const [old] = connections;
    watches[0]!.write(ECHO);
    expect(await next()).toContain('"name":"x"');
    expect(old!.closed).toBe(false);
    watches[0]!.end();
    await once(response, 'end');
    await expect.poll(() => old!.closed, { timeout: 10_000 }).toBe(true);
    await call();
    expect(connections.size).toBe(2);
  });

  it('ends with its session also when the end is told after `auth` has changed', async () => {
    const issuer = await startIssuer();
    const said: ServerHttp2Stream[] = [];
    const { script } = upstream;
    upstream.script = (stream) => {
      if (!String(upstream.latest[':path']).endsWith('/WatchRevocations')) return script(stream);
      stream.respond(GRPC);
      stream.write(CURRENT);
      return void said.push(stream);
    };
    const user = `  - { name: user, address: "${upstream.address}", descriptor_set: ${descriptorSetPath}, services: [sluice.user.v1.UserService] }`;
    const auth = { ...issuer.auth, revocations: { upstream: 'user' } };
    const write = (more: object) =>
      writeFileSync(file, configuration(user, `auth: ${JSON.stringify({ ...auth, ...more })}`));
    write({});
    await expect.poll(() => said.length, { timeout: 10_000 }).toBe(1);
    const authorization = (sid: string) => ({ authorization: `Bearer ${issuer.token({ sid })}` });
    const ready = async () => (await ask(port, 'HTTP/1.1', { path: '/v1/echo/a', fields: authorization('a') })).status;
    await expect.poll(ready).toBe(200);
    const { response } = await watch(authorization('one'));
    const other = await watch(authorization('another'));
    write({ cache_size: 10 });
    await expect.poll(() => said.length, { timeout: 10_000 }).toBe(2);
    await expect.poll(() => said[0]!.closed).toBe(true);
    let text = '';
    response.on('data', (chunk: string) => (text += chunk));
    said[1]!.write(ended('one'));
    await once(response, 'end');
    expect(text).toContain('SESSION_REVOKED');
    watches[1]!.write(ECHO);
    expect(await other.next()).toContain('"name":"x"');
    issuer.stop();
  });
});

/** Answers of WatchRevocations: none for now, and that a session has ended. */
const CURRENT = message(Buffer.from([0x12, 1, 0x31]));
const ended = (session: string) => {
  const text = Buffer.from(session);
  const revocation = Buffer.concat([Buffer.from([0x0a, text.length]), text, UNTIL]);
  return message(Buffer.concat([Buffer.from([0x0a, revocation.length]), revocation, Buffer.from([0x12, 1, 0x32])]));
};
/** Field 2, 2^42 milliseconds since the epoch. */
const UNTIL = Buffer.from([0x10, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
