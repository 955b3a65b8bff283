import {
  loadPackageDefinition,
  Metadata,
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoRoot } from '@sluice/contract';

interface Request {
  readonly email?: string;
  readonly tenant?: string;
}

/** A call that came through the gateway: its method, and what it says of the tenant. */
export interface SeenCall {
  readonly method: string;
  /** `x-sluice-tenant`. */
  readonly told: string | undefined;
  /** Of the message. */
  readonly inMessage: string | undefined;
}

/** Stands for the user service: takes every call, but of the address `nobody@…`, and notes what it was told. */
export interface UserServer {
  readonly port: number;
  readonly seen: SeenCall[];
  stop(): void;
}

const { sluice } = loadPackageDefinition(
  loadSync('sluice/user/v1/user.proto', { includeDirs: [protoRoot], keepCase: true, defaults: true }),
) as unknown as { sluice: { user: { v1: Record<string, { service: ServiceDefinition }> } } };

export async function startUserServer(): Promise<UserServer> {
  const seen: SeenCall[] = [];
  const serve = (method: string) => (call: ServerUnaryCall<Request, object>, callback: sendUnaryData<object>) => {
    const { tenant, email = '' } = call.request;
    seen.push({ method, told: call.metadata.get('x-sluice-tenant')[0]?.toString(), inMessage: tenant });
    if (email.startsWith('nobody')) return callback({ code: 16, details: 'wrong', metadata: new Metadata() });
    return callback(null, { access_token: 'a' });
  };
  const server = new Server();
  const { UserService, OAuthService } = sluice.user.v1;
  server.addService(UserService!.service, {
    Login: serve('Login'),
    Register: serve('Register'),
    Refresh: serve('Refresh'),
    CreateGuest: serve('CreateGuest'),
    GetMe: serve('GetMe'),
  });
  server.addService(OAuthService!.service, { Token: serve('Token') });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return { port, seen, stop: () => server.forceShutdown() };
}
