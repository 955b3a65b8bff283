/** The gRPC service behind every contestant. Prints its port. */
import { loadPackageDefinition, Server, ServerCredentials, type ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

const [protoFolder = '', googleFolder = ''] = process.argv.slice(2);
const definition = loadSync('echo.proto', { includeDirs: [protoFolder, googleFolder], keepCase: true, longs: String });
const service = (
  loadPackageDefinition(definition) as unknown as {
    sluice: { bench: { v1: { EchoService: { service: ServiceDefinition } } } };
  }
).sluice.bench.v1.EchoService.service;

const server = new Server();
server.addService(service, {
  Echo: (call: { request: unknown }, answer: (error: null, message: unknown) => void) => answer(null, call.request),
});
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.send?.(port);
});
