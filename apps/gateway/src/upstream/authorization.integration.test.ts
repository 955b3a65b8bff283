import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ask, type Protocol, protocols } from '../../testdata/client.js';
import { type EchoServer, echoPackage, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { startIssuer, type TestIssuer } from '../../testdata/issuer.js';
import { CLOSE, get, oneAnswer } from '../../testdata/raw-http1.js';
import { message } from '../../testdata/scripted-upstream.js';

const { path, requestSerialize, responseDeserialize } = echoPackage.echo.v1.EchoService.service['Metadata']!;
interface Seen {
  metadata: Record<string, string>;
}

let echo: EchoServer;
let issuer: TestIssuer;
let gateway: TestGateway | undefined;
beforeAll(async () => {
  echo = await startEchoServer();
  issuer = await startIssuer();
});
afterEach(() => gateway?.stop());
afterAll(() => {
  echo?.stop();
  issuer?.stop();
});

async function start(over: Record<string, unknown> = {}): Promise<void> {
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, over);
  // The first call waits for keys no longer than a moment, which a busy machine may take.
  await expect.poll(() => gateway!.runtime.verifier?.ready() ?? true).toBe(true);
}

const overRest = (protocol: Protocol) => async (authorization: string) => {
  const answer = await ask(gateway!.port, protocol, { path: '/v1/metadata', fields: { authorization } });
  return answer.json as unknown as Seen;
};

const overGrpcWeb = (protocol: Protocol) => async (authorization: string) => {
  const fields = { 'content-type': 'application/grpc-web+proto', authorization };
  const answer = await ask(gateway!.port, protocol, {
    method: 'POST',
    path,
    fields,
    body: message(requestSerialize({})),
  });
  return responseDeserialize(answer.body.subarray(5, 5 + answer.body.readUInt32BE(1))) as unknown as Seen;
};

async function overGrpc(authorization: string): Promise<Seen> {
  const metadata = new Metadata();
  metadata.set('authorization', authorization);
  const client = new Client(`127.0.0.1:${gateway!.port}`, credentials.createInsecure());
  try {
    return await new Promise((resolve, reject) =>
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, {}, metadata, (error, value) =>
        error ? reject(error) : resolve(value as never),
      ),
    );
  } finally {
    client.close();
  }
}

const forms: [string, (authorization: string) => Promise<Seen>][] = [
  ['gRPC', overGrpc],
  ...protocols.flatMap((protocol): (typeof forms)[number][] => [
    [`REST over ${protocol}`, overRest(protocol)],
    [`gRPC-Web over ${protocol}`, overGrpcWeb(protocol)],
  ]),
];

const values = [
  'Bearer abc.def',
  'bearer not~a.token',
  'Basic dXNlcjpwdw==',
  'Digest username="ann", realm="x, y", uri="/"',
  'Negotiate YIIJvwYG',
  'AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=c',
  'ApiKey',
];

describe.each(forms)('over %s', (_, seenBy) => {
  it('a service without `auth` before it gets Authorization as the client wrote it, whatever the scheme', async () => {
    await start();
    for (const value of values) expect((await seenBy(value)).metadata['authorization']).toBe(value);
  });

  it('one that is not to get it does not', async () => {
    await start({ upstream: { forward_authorization: false } });
    for (const value of values) expect((await seenBy(value)).metadata).not.toHaveProperty('authorization');
  });

  it('behind `auth` it gets the token that was checked when it asks for it, and on public methods what the client sent', async () => {
    await start({ auth: issuer.auth, upstream: { forward_authorization: true } });
    const token = `Bearer ${issuer.token()}`;
    expect((await seenBy(token)).metadata['authorization']).toBe(token);
    await gateway!.stop();

    const access = [{ selector: '*', public: true }];
    await start({ auth: issuer.auth, upstream: { forward_authorization: true, access } });
    expect((await seenBy('Basic dXNlcjpwdw==')).metadata['authorization']).toBe('Basic dXNlcjpwdw==');
    await gateway!.stop();

    await start({ auth: issuer.auth, upstream: { access } });
    expect((await seenBy(token)).metadata).not.toHaveProperty('authorization');
  });
});

it('a client cannot name it in another way', async () => {
  await start({ upstream: { forward_authorization: false } });
  const fields = { 'grpc-metadata-authorization': 'Bearer a' };
  const answer = await ask(gateway!.port, 'HTTP/1.1', { path: '/v1/metadata', fields });
  expect((answer.json as unknown as Seen).metadata).not.toHaveProperty('authorization');
});

it('two of them reach no service: neither is the one that counts', async () => {
  await start();
  const twice = get('/v1/metadata', `Authorization: Basic YTpi\r\nAuthorization: Bearer b\r\n${CLOSE}`);
  const { status, body } = await oneAnswer(gateway!.port, twice);
  expect([status, JSON.parse(body).code]).toEqual([400, 'AUTHORIZATION_DUPLICATE']);
});
