import { fileURLToPath } from 'node:url';
import { loadPackageDefinition, Metadata, Server, ServerCredentials } from '@grpc/grpc-js';
import type {
  handleBidiStreamingCall,
  handleClientStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  ServiceDefinition,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const here = fileURLToPath(new URL('.', import.meta.url));

/** As proto-loader reads echo.proto, for servers and clients. */
export const echoPackage = loadPackageDefinition(
  loadSync('echo/v1/echo.proto', {
    includeDirs: [`${here}proto`, fileURLToPath(new URL('../../../proto', import.meta.url))],
    keepCase: true,
    longs: String,
    defaults: true,
  }),
) as unknown as { echo: { v1: { EchoService: { service: ServiceDefinition } } } };

export const echoDescriptorSet = `${here}echo.binpb`;

interface Echo {
  name: string;
  text: string;
  number: string;
}

const echo: handleUnaryCall<Echo, Echo> = (call, callback) => {
  const metadata = new Metadata();
  metadata.add('set-cookie', 'a=1');
  metadata.add('set-cookie', 'b=2');
  metadata.add('x-internal', 'secret');
  call.sendMetadata(metadata);
  callback(null, call.request);
};

const count: handleServerStreamingCall<{ count: number; size: number }, Echo> = (call) => {
  const { count: most, size } = call.request;
  const text = 'x'.repeat(size);
  let sent = 0;
  const more = () => {
    while (sent < most) {
      sent += 1;
      if (!call.write({ name: 'count', text, number: String(sent) })) return void call.once('drain', more);
    }
    call.end();
  };
  more();
};

const collect: handleClientStreamingCall<Echo, { messages: number; last: string }> = (call, callback) => {
  let messages = 0;
  let last = '';
  call.on('data', (message: Echo) => {
    messages += 1;
    last = message.text;
  });
  call.on('end', () => callback(null, { messages, last }));
};

const chat: handleBidiStreamingCall<Echo, Echo> = (call) => {
  call.on('data', (message: Echo) => call.write(message));
  call.on('end', () => call.end());
};

const fail: handleServerStreamingCall<{ code: number; message: string; after: number }, Echo> = (call) => {
  const { code, message, after } = call.request;
  for (let sent = 1; sent <= after; sent++) call.write({ name: 'fail', text: '', number: String(sent) });
  call.emit('error', { code, details: message });
};

const failUnary: handleUnaryCall<{ code: number; message: string }, Echo> = (call, callback) => {
  callback({ code: call.request.code, details: call.request.message });
};

const metadata: handleUnaryCall<object, object> = (call, callback) => {
  const deadline = call.getDeadline();
  const at = deadline instanceof Date ? deadline.getTime() : deadline;
  const left = Number.isFinite(at) ? at - Date.now() : 0;
  callback(null, { metadata: call.metadata.getMap(), deadline_ms: String(Math.round(left)) });
};

interface HttpBody {
  content_type: string;
  data: Buffer;
}

const raw: handleUnaryCall<HttpBody, HttpBody> = (call, callback) => callback(null, call.request);

/** With a size below zero the second piece fails; with none the type is one that no field can have. */
const download: handleServerStreamingCall<{ count: number; size: number }, HttpBody> = (call) => {
  const { count: pieces, size } = call.request;
  for (let sent = 0; sent < pieces; sent++) {
    if (sent === 1 && size < 0) return void call.emit('error', { code: 14, details: 'the disk is gone' });
    const type = sent > 0 ? 'image/png' : size === 0 ? 'text/plain\r\nx-evil: 1' : 'text/csv';
    call.write({ content_type: type, data: Buffer.alloc(Math.abs(size), 97 + sent) });
  }
  call.end();
};

/** Calls of `Hang` that are open, and whether each was cancelled. */
export interface EchoServer {
  readonly port: number;
  hanging(): number;
  cancelled(): number;
  stop(): void;
}

/** Starts the service with grpc-js on a free port, or on `port`. */
export async function startEchoServer(port = 0): Promise<EchoServer> {
  let open = 0;
  let cancelled = 0;
  const hang: handleUnaryCall<object, Echo> = (call) => {
    open += 1;
    call.on('cancelled', () => {
      open -= 1;
      cancelled += 1;
    });
  };
  const server = new Server({ 'grpc.max_receive_message_length': -1 });
  const methods = { raw, download, echo, count, collect, chat, fail, failUnary, metadata, hang };
  server.addService(echoPackage.echo.v1.EchoService.service, methods as unknown as UntypedServiceImplementation);
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, at) =>
      error ? reject(error) : resolve(at),
    );
  });
  return { port: bound, hanging: () => open, cancelled: () => cancelled, stop: () => server.forceShutdown() };
}
