import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { request } from 'node:https';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ask, protocols } from '../../testdata/client.js';
import { echoDescriptorSet, type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway, tlsOptions } from '../../testdata/gateway.js';

const file = (name: string) => fileURLToPath(new URL(`../../testdata/tls/${name}`, import.meta.url));
const pair = (name: string) => ({ cert: file(`${name}.pem`), key: file(`${name}.key.pem`) });
const LOCALHOST = { cert: file('cert.pem'), key: file('key.pem') };

let echo: EchoServer;
let other: EchoServer;
let gateway: TestGateway | undefined;
beforeAll(async () => {
  echo = await startEchoServer();
  other = await startEchoServer();
});
afterAll(() => {
  echo?.stop();
  other?.stop();
});
afterEach(async () => {
  await gateway?.stop();
  gateway = undefined;
});

const started = async (over: object) => (gateway = await startTestGateway(`127.0.0.1:${echo.port}`, { ...over }));

/** What a call to a host is answered, whatever the connection is for. */
async function answered(protocol: (typeof protocols)[number], host: string, path = '/v1/metadata') {
  const field = protocol === 'HTTP/2' ? ':authority' : 'host';
  const { status, json } = await ask(gateway!.port, protocol, { path, fields: { [field]: host } });
  return status === 200 ? 200 : `${status} ${String(json['code'])}`;
}

const MISDIRECTED = '421 MISDIRECTED_REQUEST';

describe.each(protocols)('over %s', (protocol) => {
  it('every host is served where the configuration names none', async () => {
    await started({});
    expect(await answered(protocol, 'anything.test')).toBe(200);
  });

  it('hosts that are not listed get 421, whatever the path', async () => {
    await started({ hosts: ['api.example', '*.tenants.example'] });
    for (const host of ['api.example', 'API.example:8083', 'api.example.', 'a.tenants.example', 'a.b.tenants.example'])
      expect(await answered(protocol, host), host).toBe(200);
    for (const host of ['example', 'tenants.example', 'api.example.evil', 'evil-api.example', '127.0.0.1'])
      expect(await answered(protocol, host), host).toBe(MISDIRECTED);
    expect(await answered(protocol, 'evil.example', '/nowhere')).toBe(MISDIRECTED);
    expect(await answered(protocol, 'evil.example', '/health')).toBe(MISDIRECTED);
  });

  it('an upstream for a host goes before one for hosts below another, and that before one for all', async () => {
    const upstream = (name: string, port: number, more: object) => ({
      name,
      address: `127.0.0.1:${port}`,
      descriptor_set: echoDescriptorSet,
      ...more,
    });
    await started({
      upstreams: [
        upstream('all', echo.port, { path_prefix: '/all' }),
        upstream('below', echo.port, { path_prefix: '/below', hosts: ['*.example'] }),
        upstream('own', other.port, { path_prefix: '/own', hosts: ['a.example', 'z.test'] }),
      ],
    });
    const served = async (host: string) => {
      const statuses = [];
      for (const name of ['all', 'below', 'own']) statuses.push(await answered(protocol, host, `/${name}/v1/metadata`));
      return statuses.map((status) => status === 200);
    };
    expect(await served('b.test')).toEqual([true, false, false]);
    expect(await served('b.example')).toEqual([false, true, false]);
    expect(await served('a.example')).toEqual([false, false, true]);
    expect(await served('z.test')).toEqual([false, false, true]);
    const { json } = await ask(gateway!.port, protocol, {
      path: '/health',
      fields: { [protocol === 'HTTP/2' ? ':authority' : 'host']: 'a.example' },
    });
    expect(json['dependencies']).toEqual({ own: 'SERVING' });
  });

  it('a policy for hosts counts calls to those alone', async () => {
    const policy = { name: 'of-tenant', dimensions: ['ip'], algorithm: 'sliding_window', limit: 1, window: '1m' };
    await started({ limits: { policies: [{ ...policy, match: { hosts: ['a.example', '*.below.example'] } }] } });
    for (const host of ['b.example', 'b.example', 'below.example', 'a.example', 'b.example'])
      expect(await answered(protocol, host), host).toBe(200);
    expect(await answered(protocol, 'x.below.example')).toBe('429 RATE_LIMIT_EXCEEDED');
    expect(await answered(protocol, 'A.example:80')).toBe('429 RATE_LIMIT_EXCEEDED');
  });
});

it('of an absolute target its own host counts, and gRPC is told by its status', async () => {
  await started({ hosts: ['api.example'] });
  const asked = (host: string, path: string) =>
    ask(gateway!.port, 'HTTP/1.1', { path, fields: { host } }).then(({ status }) => status);
  expect(await asked('evil.example', 'http://api.example/v1/metadata')).toBe(200);
  expect(await asked('api.example', 'http://evil.example/v1/metadata')).toBe(421);
  const { status, body } = await ask(gateway!.port, 'HTTP/1.1', {
    method: 'POST',
    path: '/echo.v1.EchoService/Metadata',
    fields: { host: 'evil.example', 'content-type': 'application/grpc-web+proto' },
    body: Buffer.alloc(5),
  });
  expect([status, body.toString()]).toEqual([200, expect.stringContaining('grpc-status: 12')]);
});

it('a proxy that is trusted says for which host its client asked', async () => {
  await started({ hosts: ['api.example'], trusted_proxies: ['127.0.0.0/8'] });
  const through = (host: string, forwarded: string) =>
    ask(gateway!.port, 'HTTP/1.1', { path: '/v1/metadata', fields: { host, 'x-forwarded-host': forwarded } });
  expect((await through('gateway.internal', 'api.example')).status).toBe(200);
  expect((await through('api.example', 'evil.example')).status).toBe(421);
});

describe('a connection of TLS that was opened for one host', () => {
  const certificates = tlsOptions([LOCALHOST, pair('wildcard'), pair('host-a')]);
  const withTls = (over: object) => started({ listener: { tls: certificates }, ...over });
  const served = { hosts: ['localhost', '*.b.example'] };
  const port = () => gateway!.listener.tlsPort!;

  const overHttp1 = (servername: string, host: string) =>
    new Promise<number>((resolve, reject) => {
      const options = { port: port(), host: '127.0.0.1', servername, rejectUnauthorized: false, agent: false };
      request({ ...options, path: '/v1/metadata', headers: { host } }, (response) => {
        response.resume();
        response.on('end', () => resolve(response.statusCode!));
      })
        .on('error', reject)
        .end();
    });

  const openHttp2 = (servername: string) =>
    connectHttp2(`https://${servername}:${port()}`, {
      host: '127.0.0.1',
      servername,
      rejectUnauthorized: false,
    } as object);
  const overHttp2 = (session: ClientHttp2Session, authority: string) =>
    new Promise<number>((resolve, reject) => {
      const stream = session.request({ ':path': '/v1/metadata', ':authority': authority });
      stream.on('response', (fields) => resolve(fields[':status']!));
      stream.on('error', reject);
      stream.resume();
    });

  it('takes requests for that host alone over HTTP/1.1', async () => {
    await withTls(served);
    expect(await overHttp1('a.b.example', 'a.b.example')).toBe(200);
    expect(await overHttp1('c.b.example', 'C.b.example:8443')).toBe(200);
    expect(await overHttp1('c.b.example', 'd.b.example')).toBe(421);
    expect(await overHttp1('a.b.example', 'localhost')).toBe(421);
  });

  it('takes those for every host of its certificate over HTTP/2, and goes on after one that it does not take', async () => {
    await withTls(served);
    const session = openHttp2('c.b.example');
    try {
      expect(await overHttp2(session, 'c.b.example')).toBe(200);
      expect(await overHttp2(session, 'd.b.example')).toBe(200);
      expect(await overHttp2(session, 'localhost')).toBe(421);
      // Of the certificate, and not of those that are served.
      expect(await overHttp2(session, 'e.test')).toBe(421);
      expect(await overHttp2(session, 'c.b.example')).toBe(200);
    } finally {
      session.destroy();
    }
  });

  it('takes those for any host where nothing depends on hosts, and where the client named none', async () => {
    await withTls({});
    expect(await overHttp1('a.b.example', 'localhost')).toBe(200);
    await gateway!.stop();
    await withTls(served);
    expect(await overHttp1('', 'localhost')).toBe(200);
  });

  it('takes those of a trusted proxy, whose handshake is its own', async () => {
    await withTls({ ...served, trusted_proxies: ['127.0.0.1'] });
    expect(await overHttp1('a.b.example', 'localhost')).toBe(200);
  });
});
