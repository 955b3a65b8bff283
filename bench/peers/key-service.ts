/**
 * Stands for the user service where gateways ask about API keys: every key is good, and none is ever revoked. A benchmark of the
 * gateway's own cost asks it once a key. Prints its port.
 */
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoRoot } from '@sluice/contract';

const files = ['sluice/user/v1/user.proto', 'sluice/machines/v1/machines.proto'];
const { sluice } = loadPackageDefinition(
  loadSync(files, { includeDirs: [protoRoot], keepCase: true, longs: String, defaults: true }),
) as unknown as Record<'sluice', Record<'user' | 'machines', { v1: Record<string, { service: ServiceDefinition }> }>>;

const verify: handleUnaryCall<{ digest: Buffer }, object> = ({ request }, callback) => {
  const key_id = request.digest.toString('hex').slice(0, 32);
  callback(null, { state: 'STATE_GOOD', key_id, subject: 'ann', tenant: 'one', roles: ['user'] });
};
const watch: handleServerStreamingCall<unknown, object> = (call) => {
  call.write({ revocations: [], cursor: '1' });
};

const server = new Server();
server.addService(sluice.user.v1['RevocationService']!.service, { WatchRevocations: watch });
server.addService(sluice.machines.v1['ApiKeyVerificationService']!.service, { VerifyApiKey: verify });
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.send?.(port);
});
