import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { converse } from '../../testdata/conversation.js';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway, tlsOptions } from '../../testdata/gateway.js';

const file = (name: string) => fileURLToPath(new URL(`../../testdata/tls/${name}`, import.meta.url));
const LOCALHOST = { cert: file('cert.pem'), key: file('key.pem') };
const HOST_A = { cert: file('host-a.pem'), key: file('host-a.key.pem') };
const WILDCARD = { cert: file('wildcard.pem'), key: file('wildcard.key.pem') };
const pair = (name: string) => ({
  cert: readFileSync(file(`${name}.pem`)),
  key: readFileSync(file(`${name}.key.pem`)),
});

let echo: EchoServer;
let gateway: TestGateway;
beforeAll(async () => {
  echo = await startEchoServer();
});
afterAll(() => echo?.stop());
afterEach(() => gateway?.stop());

const start = async (tls: ReturnType<typeof tlsOptions>, over: object = {}) => {
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, { listener: { tls }, ...over });
};

function handshake(options: ConnectionOptions = {}): Promise<TLSSocket> {
  const port = gateway.listener.tlsPort!;
  const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false, ...options });
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', reject);
  });
}

/** The common name of the certificate that a client of this host is shown. */
async function shown(servername: string): Promise<string> {
  const socket = await handshake({ servername });
  const { subject } = socket.getPeerCertificate();
  socket.destroy();
  return String(subject.CN);
}

const METADATA = 'GET /v1/metadata HTTP/1.1\r\nHost: localhost\r\nX-Sluice-Certificate-Subject: CN=forged\r\n\r\n';

/** What the service is told of a client with such a certificate. */
async function told(options: ConnectionOptions): Promise<string | undefined> {
  const client = converse(gateway.listener.tlsPort!, await handshake(options));
  client.send(METADATA);
  let closed = false;
  client.socket.on('close', () => (closed = true));
  await expect.poll(() => closed || client.answers().length === 1).toBe(true);
  const [answer] = client.answers();
  client.socket.destroy();
  if (answer === undefined) throw new Error('the connection was closed');
  const { metadata } = JSON.parse(answer.body) as { metadata: Record<string, string> };
  return metadata['x-sluice-certificate-subject'];
}

describe('certificates by the host that a client names', () => {
  it('the host itself goes before its domain, and the first one is for all others', async () => {
    await start(tlsOptions([LOCALHOST, WILDCARD, HOST_A]));
    expect(await shown('a.b.example')).toBe('a.b.example');
    expect(await shown('c.b.example')).toBe('*.b.example');
    expect(await shown('localhost')).toBe('localhost');
    expect(await shown('elsewhere.test')).toBe('localhost');
    expect(await shown('')).toBe('localhost');
  });

  it('files that cannot be used are named, all of them', async () => {
    const wrong = tlsOptions([LOCALHOST, { cert: HOST_A.cert, key: WILDCARD.key }, { cert: 'none.pem', key: 'none' }]);
    await expect(start({ ...wrong, clientCa: file('key.pem') })).rejects.toMatchObject({
      faults: [
        expect.stringContaining('tls.client_ca'),
        expect.stringContaining('wildcard.key.pem'),
        expect.stringContaining('none.pem'),
      ],
    });
  });
});

describe('certificates whose files change', () => {
  it('are shown to the next client; open connections go on, and what cannot be used changes nothing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-certificates-'));
    const files = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
    const put = ({ cert, key }: typeof files) => {
      copyFileSync(cert, files.cert);
      copyFileSync(key, files.key);
    };
    put(LOCALHOST);
    const tls = tlsOptions([files, WILDCARD]);
    await start(tls);
    const open = converse(gateway.listener.tlsPort!, await handshake());
    put(HOST_A);
    gateway.listener.renewCertificates(tls);
    expect(await shown('localhost')).toBe('a.b.example');
    expect(await shown('a.b.example')).toBe('a.b.example');
    writeFileSync(files.key, 'no key');
    expect(() => gateway.listener.renewCertificates(tls)).toThrow();
    expect(await shown('a.b.example')).toBe('a.b.example');
    open.send(METADATA);
    await expect.poll(() => open.answers().length).toBe(1);
    open.socket.destroy();
    rmSync(folder, { recursive: true });
  });
});

describe('certificates of clients', () => {
  const clientCa = file('client-ca.pem');
  const SUBJECT = 'CN=ann,O=M\\C3\\BCller\\, S\\C3\\B6hne';

  it.each<[string, string[] | undefined]>([
    ['HTTP/1.1', undefined],
    ['HTTP/1.1 by ALPN', ['http/1.1']],
  ])('the service is told the subject, over %s', async (_, ALPNProtocols) => {
    await start(tlsOptions([LOCALHOST], { clientCa, clientsNeedCertificates: true }));
    expect(await told({ ...pair('client'), ALPNProtocols })).toBe(SUBJECT);
    expect(await told({ ...pair('client'), ALPNProtocols, maxVersion: 'TLSv1.2' })).toBe(SUBJECT);
  });

  it('also where the host has another certificate', async () => {
    await start(tlsOptions([LOCALHOST, HOST_A], { clientCa, clientsNeedCertificates: true }));
    expect(await told({ ...pair('client'), servername: 'a.b.example' })).toBe(SUBJECT);
    await expect(told({ ...pair('stranger'), servername: 'a.b.example' })).rejects.toThrow();
  });

  it('required: without one, or with one of somebody else, nobody comes in', async () => {
    await start(tlsOptions([LOCALHOST], { clientCa, clientsNeedCertificates: true }));
    await expect(told({})).rejects.toThrow();
    await expect(told(pair('stranger'))).rejects.toThrow();
    expect(gateway.listener.hits('client_error')).toBe(2);
  });

  it('optional: without one the service is told nothing, and one of somebody else does not count for none', async () => {
    await start(tlsOptions([LOCALHOST], { clientCa }));
    expect(await told({})).toBeUndefined();
    expect(await told(pair('client'))).toBe(SUBJECT);
    await expect(told(pair('stranger'))).rejects.toThrow('closed');
  });

  it('a session that is taken up again has its subject', async () => {
    await start(tlsOptions([LOCALHOST], { clientCa, clientsNeedCertificates: true }));
    const first = await handshake({ ...pair('client'), maxVersion: 'TLSv1.2' });
    const session = first.getSession()!;
    first.destroy();
    expect(await told({ ...pair('client'), maxVersion: 'TLSv1.2', session })).toBe(SUBJECT);
  });
});

describe('Strict-Transport-Security', () => {
  /** Of answers of each kind: a call's, a refusal's, a fault's. */
  async function fields(): Promise<(string | undefined)[]> {
    const seen: (string | undefined)[] = [];
    for (const request of [METADATA, 'GET /none HTTP/1.1\r\nHost: a\r\n\r\n', 'GET  / HTTP/1.1\r\n\r\n']) {
      const client = converse(gateway.listener.tlsPort!, await handshake());
      client.send(request);
      await expect.poll(() => client.answers().length).toBe(1);
      seen.push(client.answers()[0]!.fields.find(([name]) => name === 'strict-transport-security')?.[1]);
      client.socket.destroy();
    }
    return seen;
  }

  it('is on every answer over TLS, and on none without', async () => {
    await start(tlsOptions([LOCALHOST]));
    expect(await fields()).toEqual(['max-age=15552000', 'max-age=15552000', 'max-age=15552000']);
    const plain = await fetch(`${gateway.origin}/v1/metadata`);
    expect(plain.headers.has('strict-transport-security')).toBe(false);
  });

  it('says what the configuration does', async () => {
    const hsts = { max_age: '8760h', include_subdomains: true, preload: true };
    await start(tlsOptions([LOCALHOST]), { tls: { hsts } });
    expect(new Set(await fields())).toEqual(new Set(['max-age=31536000; includeSubDomains; preload']));
  });

  it('can be left out', async () => {
    await start(tlsOptions([LOCALHOST]), { tls: { hsts: false } });
    expect(await fields()).toEqual([undefined, undefined, undefined]);
  });
});
