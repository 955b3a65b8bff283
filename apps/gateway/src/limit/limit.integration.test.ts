import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startEchoServer, type EchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';
import { matchRest, type Route } from '../route/route.js';

let echo: EchoServer;
let gateway: TestGateway;
const policy = { dimensions: ['ip'], algorithm: 'sliding_window', window: '1m' };
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    limits: {
      policies: [
        { ...policy, name: 'tried', limit: 1, shadow: true },
        { ...policy, name: 'real', limit: 4 },
        { ...policy, name: 'elsewhere', limit: 1, match: { paths: ['/v1/count/*'] } },
      ],
    },
  });
});
afterAll(async () => {
  await gateway?.stop();
  echo?.stop();
});

it('counts what a policy in shadow mode would refuse, refuses by the others, and says which', async () => {
  const answers = [];
  for (let call = 0; call < 5; call++) answers.push(await fetch(`${gateway.origin}/v1/metadata`));
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 429]);
  const [first, , , , last] = answers as [Response, Response, Response, Response, Response];
  expect(first.headers.get('ratelimit-policy')).toBe('"real";q=4;w=60');
  expect(first.headers.get('ratelimit')).toContain('"real";r=3');
  expect(Number(last.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(await last.json()).toMatchObject({
    code: 'RATE_LIMIT_EXCEEDED',
    details: { blocked_by: 'ip', policy: 'real', limit: 4, window_seconds: 60 },
  });

  const metrics = await gateway.metrics.metrics();
  expect(metrics).toContain('gateway_limit_decisions_total{policy="tried"} 5');
  expect(metrics).toContain('gateway_limit_refusals_total{policy="tried",blocked_by="ip",shadow="true"} 4');
  expect(metrics).toContain('gateway_limit_refusals_total{policy="real",blocked_by="ip",shadow="false"} 1');
  expect(metrics).not.toContain('policy="elsewhere"');
});

describe('a policy by method', () => {
  const echoMethod = 'echo.v1.EchoService.Metadata';
  const started = (match: object) =>
    startTestGateway(`127.0.0.1:${echo.port}`, {
      limits: { policies: [{ ...policy, name: 'by-rpc', limit: 2, match }] },
    });
  const rest = async ({ origin }: TestGateway) => (await fetch(`${origin}/v1/metadata`)).status;
  /** What gRPC-Web says: its status is a trailer in the body, or a field when there is nothing else. */
  const grpcWeb = async ({ origin }: TestGateway) => {
    const answer = await fetch(`${origin}/${echoMethod.replace(/\.(?=[^.]*$)/, '/')}`, {
      method: 'POST',
      headers: { 'content-type': 'application/grpc-web+proto' },
      body: new Uint8Array(5),
    });
    return /grpc-status: (\d+)/.exec(await answer.text())?.[1];
  };

  it('counts it by whatever path and protocol', async () => {
    const gate = await started({ rpcs: [echoMethod] });
    try {
      expect([await rest(gate), await grpcWeb(gate), await rest(gate), await grpcWeb(gate)]).toEqual([
        200,
        '0',
        429,
        '8',
      ]);
      expect((await fetch(`${gate.origin}/v1/count/1`)).status).toBe(200);
    } finally {
      await gate.stop();
    }
  });

  it('or counts all but it', async () => {
    const gate = await started({ except_rpcs: [echoMethod] });
    try {
      for (let call = 0; call < 4; call++) expect([await rest(gate), await grpcWeb(gate)]).toEqual([200, '0']);
      const others = [];
      for (let call = 0; call < 3; call++) others.push((await fetch(`${gate.origin}/v1/count/1`)).status);
      expect(others).toEqual([200, 200, 429]);
    } finally {
      await gate.stop();
    }
  });

  it.each(['rpcs', 'except_rpcs'])('that names none in %s is refused, since it would limit nothing', async (key) => {
    await expect(started({ [key]: ['echo.v1.EchoService.Metadatum'] })).rejects.toThrow(
      `limits.policies.0.match.${key}.0: "echo.v1.EchoService.Metadatum": expected a method that is served`,
    );
  });
});

describe('a policy by path and HTTP method', () => {
  const started = (match: object) =>
    startTestGateway(`127.0.0.1:${echo.port}`, {
      limits: { policies: [{ ...policy, name: 'by-path', limit: 2, match }] },
    });
  const statuses = async ({ origin }: TestGateway, requests: readonly (readonly [string, string])[]) => {
    const seen = [];
    for (const [method, path] of requests) seen.push((await fetch(`${origin}${path}`, { method })).status);
    return seen;
  };

  it.each([
    [
      'another spelling of a literal',
      { paths: ['/v1/metadata'] },
      ['/v1/metadata', '/v1/%6detadata', '/%76%31/metadat%61'],
    ],
    [
      'a pattern that is itself encoded',
      { paths: ['/v1/%6detadata'] },
      ['/v1/metadata', '/v1/metadat%61', '/v1/%6Detadata'],
    ],
    [
      'a literal where the route has a variable',
      { paths: ['/v1/count/3'] },
      ['/v1/count/3', '/v1/count/%33', '/v%31/count/%33'],
    ],
    [
      'one segment with a slash in it',
      { paths: ['/v1/count/*'] },
      ['/v1/count/1', '/v1/count/%31', '/v1/count/1?x=1%2F'],
    ],
  ])('sees the path as routing does: %s', async (_, match, paths) => {
    const gate = await started(match);
    try {
      const seen = await statuses(
        gate,
        paths.map((path) => ['GET', path] as const),
      );
      expect(seen[2]).toBe(429);
      expect(seen.slice(0, 2)).not.toContain(429);
    } finally {
      await gate.stop();
    }
  });

  it('leaves out what its exceptions name, however it is spelled', async () => {
    const gate = await started({ except_paths: ['/v1/metadata'] });
    try {
      const spelled = await statuses(
        gate,
        Array.from({ length: 4 }, () => ['GET', '/v1/met%61data'] as const),
      );
      expect(spelled).toEqual([200, 200, 200, 200]);
    } finally {
      await gate.stop();
    }
  });

  it('counts HEAD as the GET that it is answered as, and shows so when asked', async () => {
    const gate = await started({ methods: ['GET'] });
    try {
      expect(
        await statuses(gate, [
          ['HEAD', '/v1/metadata'],
          ['GET', '/v1/metadata'],
          ['HEAD', '/v1/metadata'],
        ]),
      ).toEqual([200, 200, 429]);
      const { routes, limiter } = gate.runtime;
      const match = matchRest(routes.rest, 'HEAD', '/v1/m%65tadata');
      expect(match.kind).toBe('found');
      const { payload } = match as { payload: Route };
      const told = await limiter.explain({
        transport: { method: 'HEAD' },
        path: '/v1/m%65tadata',
        caller: undefined,
        tenant: '',
        head: { clientAddress: '127.0.0.1', hostname: '' },
        route: payload,
      });
      expect(told.map(({ policy: { name }, refused }) => [name, refused])).toEqual([['by-path', true]]);
    } finally {
      await gate.stop();
    }
  });

  it('counts a GET by Connect as a GET, and a POST as a POST', async () => {
    const path = '/echo.v1.EchoService/Metadata?connect=v1&encoding=json&message=%7B%7D';
    for (const methods of [['GET'], ['POST']]) {
      const gate = await started({ methods });
      try {
        const three = Array.from({ length: 3 }, () => ['GET', path] as const);
        expect(await statuses(gate, three)).toEqual([200, 200, methods[0] === 'GET' ? 429 : 200]);
      } finally {
        await gate.stop();
      }
    }
  });

  it('of HEAD alone holds no GET', async () => {
    const gate = await started({ methods: ['HEAD'] });
    try {
      const three = (method: string) =>
        statuses(
          gate,
          Array.from({ length: 3 }, () => [method, '/v1/metadata'] as const),
        );
      expect([await three('GET'), await three('HEAD')]).toEqual([
        [200, 200, 200],
        [200, 200, 429],
      ]);
    } finally {
      await gate.stop();
    }
  });
});
