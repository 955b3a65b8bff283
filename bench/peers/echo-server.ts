/** The gRPC service behind every contestant. Prints its port. */
import {
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const [protoFolder = '', googleFolder = ''] = process.argv.slice(2);
const definition = loadSync('echo.proto', { includeDirs: [protoFolder, googleFolder], keepCase: true, longs: String });
const service = (
  loadPackageDefinition(definition) as unknown as {
    sluice: { bench: { v1: { EchoService: { service: ServiceDefinition } } } };
  }
).sluice.bench.v1.EchoService.service;

const server = new Server({ 'grpc.max_receive_message_length': -1 });
server.addService(service, {
  Count: (call: ServerWritableStream<{ count: number }, object>) => {
    const message = { name: 'postcard', text: 'twenty bytes of text', number: '42' };
    for (let sent = 0; sent < call.request.count; sent++) call.write(message);
    call.end();
  },
  Echo: (call: { request: unknown }, answer: (error: null, message: unknown) => void) => answer(null, call.request),
});
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.send?.(port);
});
