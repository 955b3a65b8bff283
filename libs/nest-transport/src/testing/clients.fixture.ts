/** The same calls by two clients: ours and grpc-js. */
import { Writable } from 'node:stream';
import { Client, credentials, Metadata, type ServiceError, type StatusObject } from '@grpc/grpc-js';
import { Channel, type CallEvents, type Fields, type Outcome } from '@sluice/wire';

/** What a call gave, in terms that both clients share. */
export interface Result {
  readonly code: number;
  readonly message: string;
  readonly messages: readonly Buffer[];
  readonly headers: ReadonlyMap<string, readonly string[]>;
  readonly trailers: ReadonlyMap<string, readonly string[]>;
}

export interface CallSpec {
  readonly path: string;
  readonly requests: readonly Buffer[];
  /** How many messages travel: decides which of grpc-js's four methods is called. */
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  readonly metadata?: Fields;
  readonly timeoutMs?: number;
  /** Cancel after so many messages; 0: when it has been sent. */
  readonly cancelAfter?: number;
}

export interface TestClient {
  call(spec: CallSpec): Promise<Result>;
  close(): Promise<void>;
}

function byName(fields: Fields): Map<string, string[]> {
  const map = new Map<string, string[]>();
  for (const [name, value] of fields) {
    if (/^(grpc-|content-type$|date$|te$)/.test(name) && name !== 'grpc-status-details-bin') continue;
    map.set(name, [...(map.get(name) ?? []), ...value.split(/,\s*/)]);
  }
  return map;
}

export function wireClient(port: number): TestClient {
  const channel = new Channel(`127.0.0.1:${port}`);
  return {
    call: (spec) =>
      new Promise((resolve) => {
        const messages: Buffer[] = [];
        let headers: Fields = [];
        const events: CallEvents = {
          onHeaders: (fields) => (headers = fields),
          onMessage: (message) => {
            messages.push(message);
            if (messages.length === spec.cancelAfter) call.cancel();
          },
          onEnd: ({ code, message, trailers }: Outcome) =>
            resolve({ code, message, messages, headers: byName(headers), trailers: byName(trailers) }),
        };
        const options = { deadline: spec.timeoutMs === undefined ? undefined : Date.now() + spec.timeoutMs };
        const method = channel.method(spec.path);
        const call = spec.requestStream
          ? channel.start(method, spec.metadata ?? [], options, events)
          : channel.unary(method, spec.metadata ?? [], spec.requests[0]!, options, events);
        if (spec.requestStream) {
          for (const request of spec.requests) call.write(request);
          call.end();
        }
        if (spec.cancelAfter === 0) setTimeout(() => call.cancel(), 50);
      }),
    close: () => channel.close(1_000),
  };
}

export function grpcJsClient(port: number): TestClient {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  const same = (bytes: Buffer): Buffer => bytes;
  const fieldsOf = (metadata: Metadata | undefined): Fields =>
    Object.entries(metadata?.toHttp2Headers() ?? {}).flatMap(([name, values]) =>
      (Array.isArray(values) ? values : [values]).map((value) => [name, String(value)] as const),
    );
  return {
    call: (spec) =>
      new Promise((resolve) => {
        const metadata = new Metadata();
        for (const [name, value] of spec.metadata ?? []) {
          metadata.add(name, name.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
        }
        const options = { deadline: spec.timeoutMs === undefined ? Infinity : Date.now() + spec.timeoutMs };
        const messages: Buffer[] = [];
        let headers: Fields = [];
        const onAnswer = (_error: ServiceError | null, message?: Buffer): void => {
          if (message !== undefined) messages.push(message);
        };
        const { path, requestStream, responseStream } = spec;
        const call = requestStream
          ? responseStream
            ? client.makeBidiStreamRequest(path, same, same, metadata, options)
            : client.makeClientStreamRequest(path, same, same, metadata, options, onAnswer)
          : responseStream
            ? client.makeServerStreamRequest(path, same, same, spec.requests[0]!, metadata, options)
            : client.makeUnaryRequest(path, same, same, spec.requests[0]!, metadata, options, onAnswer);
        call.on('metadata', (received: Metadata) => (headers = fieldsOf(received)));
        call.on('error', () => {});
        if (responseStream) {
          call.on('data', (message: Buffer) => {
            messages.push(message);
            if (messages.length === spec.cancelAfter) call.cancel();
          });
        }
        call.on('status', ({ code, details, metadata: trailers }: StatusObject) =>
          // A unary answer is handed over after the status.
          setImmediate(() =>
            resolve({
              code,
              message: details,
              messages,
              headers: byName(headers),
              trailers: byName(fieldsOf(trailers)),
            }),
          ),
        );
        if (call instanceof Writable) {
          for (const request of spec.requests) call.write(request);
          call.end();
        }
        if (spec.cancelAfter === 0) setTimeout(() => call.cancel(), 50);
      }),
    close: async () => client.close(),
  };
}
