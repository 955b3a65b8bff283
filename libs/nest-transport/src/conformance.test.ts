/** Two servers, two clients, four pairs: the same outcomes. */
import 'reflect-metadata';
import { fileURLToPath } from 'node:url';
import { createServer, type AddressInfo } from 'node:net';
import type { Server as GrpcServer } from '@grpc/grpc-js';
import type { PackageDefinition } from '@grpc/proto-loader';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import type { INestMicroservice } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { HealthImplementation, service as healthService } from 'grpc-health-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConformanceModule, seen, type Text } from './testing/conformance.fixture.js';
import { grpcJsClient, wireClient, type CallSpec, type Result, type TestClient } from './testing/clients.fixture.js';
import { grpcMicroservice } from './wire-grpc.js';

const protoPath = fileURLToPath(new URL('./testing/conformance.proto', import.meta.url));

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const definition = loadSync(protoPath, { keepCase: true, defaults: true });
const text = definition['conformance.v1.Conformance'] as unknown as Record<
  string,
  { requestSerialize(value: Partial<Text>): Buffer; responseDeserialize(bytes: Buffer): Text }
>;
const encode = (value: Partial<Text>): Buffer => text['Echo']!.requestSerialize(value);
const decode = (result: Result): Text[] => result.messages.map((message) => text['Echo']!.responseDeserialize(message));

for (const kind of ['wire', 'grpc-js'] as const) {
  describe(`the ${kind} server`, () => {
    let app: INestMicroservice;
    let port: number;
    const health = new HealthImplementation({ '': 'SERVING' });

    beforeAll(async () => {
      port = await freePort();
      app = await NestFactory.createMicroservice(ConformanceModule, {
        ...grpcMicroservice(kind, {
          url: `127.0.0.1:${port}`,
          package: 'conformance.v1',
          protoPath,
          loader: { keepCase: true, defaults: true },
          gracefulShutdown: true,
          maxReceiveMessageLength: 1_000_000,
          onLoadPackageDefinition: (loaded: PackageDefinition, server: GrpcServer) => {
            health.addToServer(server);
            new ReflectionService(loaded).addToServer(server);
          },
        }),
        logger: false,
      });
      await app.listen();
    });

    afterAll(() => app.close());

    for (const [name, make] of [
      ['wire', wireClient],
      ['grpc-js', grpcJsClient],
    ] as const) {
      describe(`with the ${name} client`, () => {
        let client: TestClient;
        beforeAll(() => void (client = make(port)));
        afterAll(() => client.close());

        const call = (method: string, requests: Partial<Text>[], more: Partial<CallSpec> = {}): Promise<Result> =>
          client.call({
            path: `/conformance.v1.Conformance/${method}`,
            requests: requests.map(encode),
            requestStream: false,
            responseStream: false,
            ...more,
          });

        it('unary, with metadata of both kinds', async () => {
          const result = await call('Echo', [{ text: 'hi', count: 3 }], {
            metadata: [
              ['x-in', 'a'],
              ['x-in', 'b'],
              ['x-in-bin', 'AQL/'],
            ],
          });
          expect(result.code).toBe(0);
          expect(decode(result)).toEqual([{ text: 'hi', count: 3 }]);
          expect(result.headers.get('x-out')).toEqual(['a', 'b']);
          expect(result.headers.get('x-out-bin')?.[0]).toMatch(/^AQL\/$/);
        });

        it('many at once', async () => {
          const results = await Promise.all(
            Array.from({ length: 200 }, (_, count) => call('Echo', [{ text: 'x'.repeat(count * 50), count }])),
          );
          results.forEach((result, count) => expect(decode(result)).toEqual([{ text: 'x'.repeat(count * 50), count }]));
        });

        it('a status with details and trailers', async () => {
          for (const code of [1, 5, 16]) {
            const result = await call('Fail', [{ text: 'nö: 100%', count: code }]);
            expect(result).toMatchObject({ code, message: 'nö: 100%', messages: [] });
            expect(result.trailers.get('x-trailer')).toEqual(['why']);
            expect(result.trailers.get('grpc-status-details-bin')?.[0]).toMatch(/^AQL\/$/);
          }
        });

        it('an exception filter', async () =>
          expect(await call('Throw', [{}])).toMatchObject({ code: 3, message: 'filtered: wrong' }));

        it('a guard', async () => {
          expect((await call('Guarded', [{}])).code).not.toBe(0);
          expect(await call('Guarded', [{}], { metadata: [['x-friend', 'yes']] })).toMatchObject({ code: 0 });
        });

        it('a pipe and an interceptor', async () => {
          const before = seen.intercepted;
          expect(decode(await call('Piped', [{ text: 'abc' }]))).toMatchObject([{ text: 'ABC' }]);
          expect(seen.intercepted).toBe(before + 1);
        });

        it('a deadline that the handler sees', async () => {
          const [answer] = decode(await call('Deadline', [{}], { timeoutMs: 30_000 }));
          expect(answer!.text).toBe('/conformance.v1.Conformance/Deadline');
          expect(answer!.count).toBeGreaterThan(20_000);
          expect(answer!.count).toBeLessThanOrEqual(30_000);
          expect(decode(await call('Deadline', [{}]))).toMatchObject([{ count: -1 }]);
        });

        it('a deadline that passes', async () => {
          const before = seen.cancelled;
          expect(await call('Stall', [{}], { timeoutMs: 100 })).toMatchObject({ code: 4 });
          await expect.poll(() => seen.cancelled).toBe(before + 1);
        });

        it('a client that leaves', async () => {
          const before = seen.cancelled;
          expect(await call('Stall', [{}], { cancelAfter: 0 })).toMatchObject({ code: 1 });
          await expect.poll(() => seen.cancelled).toBe(before + 1);
        });

        it('a method without handler, and one that does not exist', async () => {
          expect(await call('Missing', [{}])).toMatchObject({ code: 12 });
          expect(await call('Nowhere', [{}])).toMatchObject({ code: 12 });
        });

        it('a stream from the server', async () => {
          const result = await call('Repeat', [{ text: 'a', count: 500 }], { responseStream: true });
          expect(result.code).toBe(0);
          expect(decode(result).map(({ count }) => count)).toEqual(Array.from({ length: 500 }, (_, at) => at));
        });

        it('one that fails after its messages', async () => {
          const result = await call('RepeatThenFail', [{ text: 'a', count: 3 }], { responseStream: true });
          expect(result).toMatchObject({ code: 9, message: 'enough' });
          expect(result.messages.length).toBe(3);
        });

        it('one that the client leaves', async () => {
          const before = seen.finalized;
          const result = await call('RepeatForever', [{}], { responseStream: true, cancelAfter: 3 });
          expect(result.code).toBe(1);
          await expect.poll(() => seen.finalized).toBe(before + 1);
        });

        it('a stream to the server', async () => {
          const result = await call('Join', [{ text: 'a' }, { text: 'b' }, { text: 'c' }], { requestStream: true });
          expect(result.code).toBe(0);
          expect(decode(result)).toEqual([{ text: 'abc', count: 3 }]);
        });

        it('streams both ways, by observables and by the raw call', async () => {
          const both = { requestStream: true, responseStream: true };
          const chat = await call('Chat', [{ text: 'a' }, { text: 'b' }], both);
          expect(decode(chat).map((one) => one.text)).toEqual(['re: a', 're: b']);
          const raw = await call('Raw', [{ text: 'a' }, { text: 'b' }], both);
          expect([raw.code, decode(raw).map((one) => one.text)]).toEqual([0, ['a', 'b']]);
        });

        it('messages above the bound', async () => {
          expect(await call('Echo', [{ text: 'x'.repeat(1_100_000) }])).toMatchObject({ code: 8 });
        });

        it('a message that is none', async () => {
          const result = await client.call({
            path: '/conformance.v1.Conformance/Echo',
            requests: [Buffer.from([0xff, 0xff])],
            requestStream: false,
            responseStream: false,
          });
          expect(result.code).toBe(13);
        });

        it('health', async () => {
          const check = (
            healthService as unknown as Record<
              string,
              { requestSerialize(v: object): Buffer; responseDeserialize(b: Buffer): { status: string } }
            >
          )['Check']!;
          const result = await client.call({
            path: '/grpc.health.v1.Health/Check',
            requests: [check.requestSerialize({ service: '' })],
            requestStream: false,
            responseStream: false,
          });
          expect(check.responseDeserialize(result.messages[0]!)).toMatchObject({ status: 'SERVING' });
        });

        it('reflection', async () => {
          // ServerReflectionRequest { list_services: "" } is field 7, empty.
          const result = await client.call({
            path: '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
            requests: [Buffer.from([0x3a, 0])],
            requestStream: true,
            responseStream: true,
          });
          expect(result.code).toBe(0);
          expect(result.messages[0]!.toString('latin1')).toContain('conformance.v1.Conformance');
        });
      });
    }
  });
}
