import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import type { ClientDuplexStream, ClientReadableStream, ServiceClientConstructor, ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../../testdata/client.js';
import { type EchoServer, startEchoServer } from '../../testdata/echo-server.js';
import { startTestGateway, type TestGateway } from '../../testdata/gateway.js';

const require = createRequire(import.meta.url);
const packageOf = (name: string) => dirname(require.resolve(`${name}/package.json`));
const options = { keepCase: true, enums: String, defaults: true, oneofs: true };

/** The clients' own protos: what other gRPC software speaks. */
function client(file: string, dir: string, service: string): ServiceClientConstructor {
  const found = service
    .split('.')
    .reduce<unknown>(
      (at, name) => (at as Record<string, unknown>)[name],
      loadPackageDefinition(loadSync(file, { ...options, includeDirs: [dir] })),
    );
  return found as ServiceClientConstructor;
}
const reflectionDir = join(packageOf('@grpc/reflection'), 'build/proto');
const healthDir = join(packageOf('grpc-health-check'), 'proto');
const Health = client('health/v1/health.proto', healthDir, 'grpc.health.v1.Health');
const reflections = ['v1', 'v1alpha'].map(
  (version) =>
    [
      version,
      client(
        `grpc/reflection/${version}/reflection.proto`,
        reflectionDir,
        `grpc.reflection.${version}.ServerReflection`,
      ),
    ] as const,
);

interface ReflectionAnswer {
  message_response: string;
  valid_host: string;
  list_services_response?: { service: { name: string }[] };
  file_descriptor_response?: { file_descriptor_proto: Buffer[] };
  all_extension_numbers_response?: { extension_number: number[] };
  error_response?: { error_code: number };
}

let echo: EchoServer;
let gateway: TestGateway;
let closed: TestGateway;
beforeAll(async () => {
  echo = await startEchoServer();
  gateway = await startTestGateway(`127.0.0.1:${echo.port}`, {
    auth: { mode: 'jwt', issuer: 'http://127.0.0.1:1/', audience: 'x', keys: { jwks_url: 'http://127.0.0.1:1/jwks' } },
  });
  closed = await startTestGateway(`127.0.0.1:${echo.port}`, { grpc: { reflection: false, health: false } });
});
afterAll(async () => {
  await gateway?.stop();
  await closed?.stop();
  echo?.stop();
});

const to = (constructor: ServiceClientConstructor, gate = gateway) =>
  new constructor(`127.0.0.1:${gate.port}`, credentials.createInsecure());

describe.each(reflections)('reflection %s, without a token', (_, constructor) => {
  /** Asks one after another on one stream. */
  async function asked(...requests: object[]): Promise<ReflectionAnswer[]> {
    const one = to(constructor);
    try {
      const stream = one['ServerReflectionInfo']!() as ClientDuplexStream<object, ReflectionAnswer>;
      const answers: ReflectionAnswer[] = [];
      return await new Promise((resolve, reject) => {
        stream.on('data', (answer: ReflectionAnswer) => answers.push(answer));
        stream.on('error', reject);
        stream.on('end', () => resolve(answers));
        for (const request of requests) stream.write(request);
        stream.end();
      });
    } finally {
      one.close();
    }
  }
  const filesOf = (answer: ReflectionAnswer | undefined) =>
    answer?.file_descriptor_response?.file_descriptor_proto.map((bytes) =>
      fromBinary(FileDescriptorProtoSchema, bytes),
    ) ?? [];

  it('lists what can be called', async () => {
    const [answer] = await asked({ list_services: '*', host: 'h' });
    expect(answer?.valid_host).toBe('h');
    expect(answer?.list_services_response?.service.map(({ name }) => name)).toEqual([
      'echo.v1.EchoService',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
    ]);
  });

  it.each([
    'echo.v1.EchoService',
    'echo.v1.EchoService.Echo',
    'echo.v1.EchoRequest',
    'echo.v1.EchoRequest.text',
    'google.api.HttpBody',
    'google.api.http',
    'grpc.health.v1.HealthCheckResponse.SERVING',
    'grpc.health.v1.HealthCheckResponse.ServingStatus',
  ])('gives the file of %s with all that it imports', async (symbol) => {
    const files = filesOf((await asked({ file_containing_symbol: symbol }))[0]);
    const names = new Set(files.map(({ name }) => name));
    expect(symbol.startsWith(files[0]!.package)).toBe(true);
    for (const file of files) for (const imported of file.dependency) expect(names).toContain(imported);
    expect(files.every(({ sourceCodeInfo }) => sourceCodeInfo === undefined)).toBe(true);
  });

  it('keeps the HTTP rules in options', async () => {
    const [, [file]] = (await asked({ list_services: '' }, { file_by_filename: 'echo/v1/echo.proto' })).map(
      filesOf,
    ) as [unknown, ReturnType<typeof filesOf>];
    const method = file!.service[0]!.method.find(({ name }) => name === 'Echo')!;
    expect(method.options!.$unknown!.map(({ no }) => no)).toEqual([72295728]);
  });

  it('extensions, and what is not there', async () => {
    const answers = await asked(
      { all_extension_numbers_of_type: 'google.protobuf.MethodOptions' },
      { file_containing_extension: { containing_type: 'google.protobuf.MethodOptions', extension_number: 72295728 } },
      { all_extension_numbers_of_type: 'echo.v1.EchoRequest' },
      { file_containing_symbol: 'echo.v1.Nothing' },
      { file_by_filename: 'nothing.proto' },
      { all_extension_numbers_of_type: 'Nothing' },
      { file_containing_extension: { containing_type: 'google.protobuf.MethodOptions', extension_number: 1 } },
      {},
    );
    expect(answers[0]!.all_extension_numbers_response!.extension_number).toContain(72295728);
    expect(filesOf(answers[1])[0]!.name).toBe('google/api/annotations.proto');
    expect(answers[2]!.all_extension_numbers_response!.extension_number).toEqual([]);
    expect(answers.slice(3).map(({ error_response }) => error_response?.error_code)).toEqual([5, 5, 5, 5, 5]);
  });
});

describe('grpc.health.v1', () => {
  const health = async (name: string, request: object, gate = gateway): Promise<unknown> => {
    const one = to(Health, gate);
    try {
      return await new Promise((resolve, reject) => {
        (
          one[name] as unknown as (request: object, done: (error: ServiceError | null, value: unknown) => void) => void
        ).call(one, request, (error, value) => (error ? reject(error) : resolve(value)));
      });
    } finally {
      one.close();
    }
  };

  it('checks the gateway, a service, and one that is not there', async () => {
    expect(await health('Check', {})).toEqual({ status: 'SERVING' });
    expect(await health('Check', { service: 'echo.v1.EchoService' })).toEqual({ status: 'SERVING' });
    for (const service of ['echo', 'gateway', 'sluice.gateway.v1.GatewayService'])
      expect(await health('Check', { service }), service).toEqual({ status: 'SERVING' });
    await expect(health('Check', { service: 'echo.v1.Nothing' })).rejects.toMatchObject({ code: 5 });
    expect(await health('List', {})).toEqual({
      statuses: { '': { status: 'SERVING' }, 'echo.v1.EchoService': { status: 'SERVING' } },
    });
  });

  it('watches until the client leaves, and tells of changes', async () => {
    const service = await startEchoServer();
    const gate = await startTestGateway(`127.0.0.1:${service.port}`);
    const one = to(Health, gate);
    try {
      const watch = (service: string) => {
        const seen: string[] = [];
        const stream = one['Watch']!({ service }) as ClientReadableStream<{ status: string }>;
        stream.on('data', ({ status }: { status: string }) => seen.push(status));
        stream.on('error', () => undefined);
        return { seen, stream };
      };
      const known = watch('echo.v1.EchoService');
      const unknown = watch('echo.v1.Nothing');
      await expect.poll(() => [known.seen, unknown.seen]).toEqual([['SERVING'], ['SERVICE_UNKNOWN']]);
      service.stop();
      await expect.poll(() => known.seen, { timeout: 15_000 }).toEqual(['SERVING', 'NOT_SERVING']);
      expect(unknown.seen).toEqual(['SERVICE_UNKNOWN']);
      known.stream.cancel();
      unknown.stream.cancel();
      await expect.poll(() => gate.runtime.inFlight.calls).toBe(0);
    } finally {
      one.close();
      await gate.stop();
    }
  });

  it('answers gRPC-Web, and refuses what is no message', async () => {
    const call = (body: Buffer, type = 'application/grpc-web+proto') =>
      ask(gateway.port, 'HTTP/1.1', {
        method: 'POST',
        path: '/grpc.health.v1.Health/Check',
        fields: { 'content-type': type },
        body,
      });
    const frame = Buffer.from([0, 0, 0, 0, 0]);
    expect((await call(frame)).body.toString('latin1')).toBe('\0\0\0\0\x02\x08\x01\x80\0\0\0\x10grpc-status: 0\r\n');
    const text = (await call(Buffer.from(frame.toString('base64')), 'application/grpc-web-text')).body.toString();
    const decoded = text
      .match(/[^=]+={0,2}/g)!
      .map((part) => Buffer.from(part, 'base64').toString('latin1'))
      .join('');
    expect(decoded).toBe('\0\0\0\0\x02\x08\x01\x80\0\0\0\x10grpc-status: 0\r\n');
    const status = async (body: Buffer) => /grpc-status: (\d+)/.exec((await call(body)).body.toString('latin1'))?.[1];
    expect(await status(Buffer.from([0, 0, 0, 0, 2, 0xff, 0xff]))).toBe('3');
    expect(await status(Buffer.from([1, 0, 0, 0, 0]))).toBe('12');
    expect(await status(Buffer.from([0, 0, 0]))).toBe('3');
    expect(await status(Buffer.from([0, 0x7f, 0, 0, 0]))).toBe('8');
    expect(await status(Buffer.alloc(0))).toBe('3');
  });

  it('and reflection are off where the configuration says so', async () => {
    await expect(health('Check', {}, closed)).rejects.toMatchObject({ code: 12 });
  });
});
