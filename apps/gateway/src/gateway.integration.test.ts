import { gatewaySecretFor } from '@sluice/config';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEchoServer, type EchoServer } from '../testdata/echo-server.js';
import { GATEWAY_SECRET, startTestGateway, type TestGateway } from '../testdata/gateway.js';

let echo: EchoServer;
let gateway: TestGateway;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`);
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
});

const call = (path: string, init: RequestInit = {}) => fetch(gateway.origin + path, init);
const post = (path: string, body: unknown) =>
  call(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

describe('REST over HTTP/1.1', () => {
  it('transcodes a unary call', async () => {
    const response = await post('/v1/echo/ann', { text: 'hello', number: '9007199254740993' });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(response.headers.getSetCookie()).toEqual(['a=1', 'b=2']);
    expect(response.headers.get('x-internal')).toBeNull();
    expect(await response.json()).toEqual({ name: 'ann', text: 'hello', number: '9007199254740993' });
  });

  it('streams NDJSON', async () => {
    const response = await call('/v1/count/3?size=2');
    const lines = (await response.text()).trim().split('\n');
    expect(lines.map((line) => JSON.parse(line).number)).toEqual(['1', '2', '3']);
  });

  it.each([
    ['/v1/nothing', 'GET', 404, 'ROUTE_NOT_FOUND'],
    ['/v1/metadata', 'POST', 405, 'METHOD_NOT_ALLOWED'],
    ['/v1/fail-unary/5?message=gone', 'GET', 404, 'NOT_FOUND'],
    ['/v1/fail-unary/13?message=inside', 'GET', 500, 'INTERNAL'],
    ['/v1/echo/a?number=1.5', 'GET', 400, 'INVALID_ARGUMENT'],
  ])('%s by %s is %i', async (path, method, status, code) => {
    const response = await call(path, { method });
    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    const problem = (await response.json()) as { code: string };
    expect(problem.code).toBe(code);
    expect(JSON.stringify(problem)).not.toContain('inside');
  });

  it('passes a deadline and metadata on', async () => {
    const response = await call('/v1/metadata', {
      headers: {
        'x-request-timeout': '2',
        'grpc-metadata-colour': 'blue',
        'x-sluice-subject': 'admin',
        'x-other': '1',
      },
    });
    const { metadata, deadlineMs } = (await response.json()) as {
      metadata: Record<string, string>;
      deadlineMs: string;
    };
    expect(metadata['colour']).toBe('blue');
    expect(metadata['x-sluice-subject']).toBeUndefined();
    expect(metadata['x-other']).toBeUndefined();
    expect(metadata['x-forwarded-for']).toBe('127.0.0.1');
    expect(metadata['traceparent']).toMatch(/^00-/);
    expect(Number(deadlineMs)).toBeGreaterThan(500);
    expect(Number(deadlineMs)).toBeLessThanOrEqual(2000);
  });

  it.each([
    [true, gatewaySecretFor('echo', GATEWAY_SECRET)],
    ['greeter', gatewaySecretFor('greeter', GATEWAY_SECRET)],
    [false, undefined],
  ])('trusted: %s tells a service its own secret at most, and never the root', async (trusted, secret) => {
    const trusting = await startTestGateway(`127.0.0.1:${echo.port}`, { upstream: { trusted } });
    const response = await fetch(`${trusting.origin}/v1/metadata`);
    const { metadata } = (await response.json()) as { metadata: Record<string, string> };
    expect(metadata['x-sluice-gateway-secret']).toBe(secret);
    expect(JSON.stringify(metadata)).not.toContain(GATEWAY_SECRET);
    await trusting.stop();
  });

  it('ends a call at its deadline', async () => {
    const response = await call('/v1/hang', { headers: { 'x-request-timeout': '200ms' } });
    expect(response.status).toBe(504);
    await expect.poll(() => echo.hanging()).toBe(0);
  });

  it('cancels the upstream call when the client leaves', async () => {
    const before = echo.cancelled();
    const leaving = new AbortController();
    const pending = call('/v1/hang', { signal: leaving.signal }).catch((error: Error) => error.name);
    await expect.poll(() => echo.hanging()).toBe(1);
    leaving.abort();
    expect(await pending).toBe('AbortError');
    await expect.poll(() => echo.cancelled()).toBe(before + 1);
  });
});
