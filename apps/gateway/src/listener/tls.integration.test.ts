import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { type AddressInfo, connect as connectTcp } from 'node:net';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { converse } from '../../testdata/conversation.js';
import { type EchoServer, echoPackage, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway, tlsOptions } from '../../testdata/gateway.js';
import { PREFACE } from '../../testdata/raw-http2.js';
import { GRPC, message } from '../../testdata/scripted-upstream.js';

/** TLS from outside: versions, ALPN, and the programs that people use. */

const file = (name: string) => fileURLToPath(new URL(`../../testdata/tls/${name}`, import.meta.url));
const certFile = file('cert.pem');
const tls = tlsOptions([{ cert: certFile, key: file('key.pem') }]);
const ca = readFileSync(certFile);

let echo: EchoServer;
let gateway: TestGateway;
let port: number;
let origin: string;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    listener: { tls },
    timeouts: { headers: '700ms', idle: '5s' },
  });
  port = gateway.listener.tlsPort!;
  origin = `https://localhost:${port}`;
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
});

async function handshake(options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ca, ...options });
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', reject);
  });
}

const REQUEST = 'GET /v1/metadata HTTP/1.1\r\nHost: localhost\r\n\r\n';

describe('ALPN (RFC 7301)', () => {
  it.each<[string, string[] | undefined]>([
    ['of http/1.1', ['http/1.1']],
    ['that is not used', undefined],
  ])('%s is HTTP/1.1', async (_, ALPNProtocols) => {
    const client = converse(port, await handshake({ ALPNProtocols }));
    client.send(REQUEST + REQUEST);
    await expect.poll(() => client.answers().length).toBe(2);
    const { metadata } = JSON.parse(client.answers()[0]!.body) as { metadata: Record<string, string> };
    expect(metadata).toMatchObject({ 'x-forwarded-proto': 'https', 'x-forwarded-host': 'localhost' });
    client.socket.destroy();
  });

  it('of h2 is HTTP/2, which the server opens with SETTINGS', async () => {
    const socket = await handshake({ ALPNProtocols: ['h2', 'http/1.1'] });
    expect(socket.alpnProtocol).toBe('h2');
    socket.write(PREFACE);
    const [first] = await new Promise<Buffer[]>((resolve) => socket.once('data', (chunk) => resolve([chunk])));
    expect(first!.readUInt8(3)).toBe(4);
    socket.destroy();
  });

  it('of something else ends the handshake', async () => {
    await expect(handshake({ ALPNProtocols: ['spdy/3'] })).rejects.toThrow(/alert no application protocol/);
  });

  it('of h2 followed by HTTP/1.1 ends the connection', async () => {
    const client = converse(port, await handshake({ ALPNProtocols: ['h2'] }));
    client.send(REQUEST);
    expect(await client.ended()).toBe(true);
    expect(client.rest()).not.toContain('HTTP/1.1 200');
  });
});

describe('versions', () => {
  it.each(['TLSv1', 'TLSv1.1'] as const)('%s is refused', async (version) => {
    const old = { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' };
    // The refusal is the server's.
    await expect(handshake(old)).rejects.toThrow(/alert protocol version/);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('%s is spoken', async (version) => {
    const socket = await handshake({ minVersion: version, maxVersion: version });
    expect(socket.getProtocol()).toBe(version);
    socket.destroy();
  });
});

describe('clients that are no clients', () => {
  it.each([
    ['says nothing', ''],
    ['begins a handshake and stops', '\x16\x03\x01\x02\x00\x01'],
    ['speaks without TLS', REQUEST],
  ])('one that %s is shed', async (_, bytes) => {
    const client = converse(port);
    client.send(bytes);
    expect(await client.ended(5000)).toBe(true);
  });

  it.each([['http/1.1'], ['h2']])('one that says nothing after a handshake for %s is shed', async (protocol) => {
    const client = converse(port, await handshake({ ALPNProtocols: [protocol] }));
    expect(await client.ended(5000)).toBe(true);
  });

  it('one in the middle of its handshake does not hold up the end', async () => {
    const ending = await startTestGateway(`127.0.0.1:${echo.port}`, { listener: { tls } });
    const stuck = connectTcp(ending.listener.tlsPort!, '127.0.0.1');
    stuck.on('error', () => undefined).resume();
    await new Promise((resolve) => stuck.once('connect', resolve));
    const gone = new Promise((resolve) => stuck.once('close', resolve));
    await ending.listener.close(200);
    await gone;
    await ending.stop();
  });
});

/** Debian has all of them; elsewhere some may be missing. */
const has = (program: string) => existsSync(`/usr/bin/${program}`);
const run = async (program: string, ...args: string[]) => {
  const { stdout, stderr } = await promisify(execFile)(program, args, { timeout: 30_000 });
  return stdout + stderr;
};

describe('programs', () => {
  it.skipIf(!has('curl')).each(['--http1.1', '--http2'])('curl %s', async (flag) => {
    const body = ['-H', 'content-type: application/json', '-d', '{"text":"hello"}'];
    const version = ['-w', ' %{http_version}'];
    const said = await run('curl', '-sS', flag, '--cacert', certFile, ...body, ...version, `${origin}/v1/echo/ann`);
    expect(said).toBe(`{"name":"ann","text":"hello","number":"0"} ${flag === '--http2' ? '2' : '1.1'}`);
  });

  it.skipIf(!has('curl'))('curl without the certificate refuses', async () => {
    await expect(run('curl', '-sS', `${origin}/v1/metadata`)).rejects.toThrow(/self.signed|certificate/);
  });

  it.skipIf(!has('nghttp'))('nghttp', async () => {
    expect(await run('nghttp', '-v', '--no-verify-peer', `${origin}/v1/echo/ann`)).toMatch(/:status: 200/);
  });

  it.skipIf(!has('h2load')).each(['h2', 'http/1.1'])('h2load by %s', async (protocol) => {
    const said = await run('h2load', '-n2000', '-c10', '-m10', `--npn-list=${protocol}`, `${origin}/v1/echo/ann`);
    expect(said).toContain(`Application protocol: ${protocol}`);
    expect(said).toContain('2000 succeeded, 0 failed, 0 errored, 0 timeout');
  });

  it.skipIf(!has('chromium'))('a browser: REST and gRPC-Web over HTTP/2', async () => {
    const browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
    });
    try {
      const page = await (await browser.newContext({ ignoreHTTPSErrors: true })).newPage();
      await page.goto(`${origin}/v1/metadata`);
      const sent = [...message(echoPackage.echo.v1.EchoService.service['Echo']!.requestSerialize({ name: 'ann' }))];
      const seen = await page.evaluate(async (bytes) => {
        const rest = await fetch('/v1/echo/ann', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: '{"text":"hello"}',
        });
        const web = await fetch('/echo.v1.EchoService/Echo', {
          method: 'POST',
          headers: { 'content-type': 'application/grpc-web+proto', 'x-grpc-web': '1' },
          body: new Uint8Array(bytes),
        });
        const entries = performance.getEntriesByType('resource') as unknown as { nextHopProtocol: string }[];
        return {
          rest: (await rest.json()) as unknown,
          web: new TextDecoder().decode(await web.arrayBuffer()),
          protocols: entries.map((entry) => entry.nextHopProtocol),
        };
      }, sent);
      expect(seen.rest).toEqual({ name: 'ann', text: 'hello', number: '0' });
      expect(seen.web).toContain('ann');
      expect(seen.web).toContain('grpc-status: 0');
      expect(new Set(seen.protocols)).toEqual(new Set(['h2']));
    } finally {
      await browser.close();
    }
  });
});

/** What the types of Node leave out of its server's sockets. */
interface Named {
  readonly servername: string | false;
}

describe('to an upstream', () => {
  it('with `tls: { ca }` the name of its address is sent, and the certificate checked by it', async () => {
    const names: (string | false)[] = [];
    const server = createSecureServer({ cert: ca, key: readFileSync(file('key.pem')) });
    server.on('secureConnection', (socket: TLSSocket & Named) => names.push(socket.servername));
    server.on('stream', (stream) => stream.respond({ ...GRPC, 'grpc-status': 5 }, { endStream: true }));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = `localhost:${(server.address() as AddressInfo).port}`;
    const secure = await startTestGateway(address, { upstream: { tls: { ca: certFile } } });
    expect((await fetch(`${secure.origin}/v1/echo/ann`)).status).toBe(404);
    expect(names[0]).toBe('localhost');
    await secure.stop();
    server.close();
  });
});
