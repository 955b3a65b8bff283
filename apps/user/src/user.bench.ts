/**
 * Refreshes, look-ups of API keys, tokens for service accounts and logins of one user process on a real Postgres, asked over gRPC from
 * this process: calls a second, CPU time per call of the service and of Postgres, and how long an unrelated call takes beside logins at
 * the default argon2 setting.
 *
 *   npm run bench user [calls a round]
 */
import { createHash, generateKeyPairSync, randomBytes, randomUUID, sign } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { credentials, loadPackageDefinition, Metadata } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { type machinesV1, protoRoot, type userV1 } from '@sluice/contract';
import { freePort, startPostgres } from '@sluice/testing';

const CLIENTS = 32;
const ROUNDS = 5;
const CALLS = Number(process.argv[2] ?? 3000);
const LOGINS = 60;
/** Of /proc/pid/stat: USER_HZ is 100 on every Linux that Node runs on. */
const TICK_MS = 10;
const ISSUER = 'https://issuer.example';
const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
/** `VerifyApiKeyResponse.State`. */
const STATE_GOOD = 1;
const PASSWORD = 'correct horse battery staple';

interface Replica {
  readonly child: ChildProcess;
  readonly port: number;
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'));
  const postgres = await startPostgres({ fsync: 'on', synchronous_commit: 'on', full_page_writes: 'on' });
  const replica = await startUser(postgres.url, folder);
  const client = connect(`127.0.0.1:${replica.port}`);
  try {
    const call = client.call;
    const tokens: userV1.TokenResponse[] = [];
    for (let index = 0; index < CLIENTS; index++) {
      const credentials = { email: `bench${index}@example.com`, password: PASSWORD };
      await call('UserService/Register', credentials);
      tokens.push(await call<userV1.TokenResponse>('UserService/Login', credentials));
    }
    const cpuOfService = () => cpuMs(replica.child.pid!);
    const cpuOfPostgres = () => cpuOfTree(postgres.server.pid);

    const refresh = async (count: number) => {
      await Promise.all(
        tokens.map(async (_, index) => {
          for (let done = 0; done < count / CLIENTS; done++) {
            const refresh_token = tokens[index]!.refresh_token;
            tokens[index] = await call<userV1.TokenResponse>('UserService/Refresh', { refresh_token });
          }
        }),
      );
    };
    await refresh(CALLS);
    const refreshes = [];
    for (let round = 0; round < ROUNDS; round++) {
      refreshes.push(await measured(CALLS, cpuOfService, cpuOfPostgres, () => refresh(CALLS)));
    }
    report('refresh', refreshes);
    for (const [name, prepare] of Object.entries(await machineCalls(call))) {
      const rounds = [];
      for (let round = 0; round <= ROUNDS; round++) {
        const calls = await prepare(CALLS);
        const work = async () => void (await Promise.all(Array.from({ length: CLIENTS }, () => drain(calls))));
        const measure = await measured(CALLS, cpuOfService, cpuOfPostgres, work);
        if (round > 0) rounds.push(measure);
      }
      report(name, rounds);
    }

    const { sub } = JSON.parse(Buffer.from(tokens[0]!.access_token.split('.')[1]!, 'base64url').toString()) as {
      sub: string;
    };
    const alone = await latencies(() => call('UserService/GetMe', {}, { subject: sub }), { over: false }, 300);
    const storm = { over: false };
    const beside = latencies(() => call('UserService/GetMe', {}, { subject: sub }), storm);
    const logins = [];
    for (let round = 0; round < 3; round++) {
      logins.push(
        await measured(LOGINS, cpuOfService, cpuOfPostgres, async () => {
          const all = Array.from({ length: LOGINS }, (_, index) =>
            call('UserService/Login', { email: `bench${index % CLIENTS}@example.com`, password: PASSWORD }),
          );
          await Promise.all(all);
        }),
      );
    }
    storm.over = true;
    report('login', logins);
    const p99 = (times: number[]) => times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)]!.toFixed(1);
    console.log(
      `an unrelated call, p99: ${p99(alone)} ms alone, ${p99(await beside)} ms beside ${LOGINS} logins at once`,
    );
  } finally {
    client.close();
    replica.child.kill('SIGKILL');
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

type Prepare = (count: number) => Promise<(() => Promise<unknown>)[]>;

/** What programs ask for, by name. What the client computes for it, such as signatures, is computed before the clock runs. */
async function machineCalls(call: Call): Promise<Record<string, Prepare>> {
  const manager = { subject: randomUUID(), roles: 'admin' };
  const manage = <T>(method: string, request: object) => call<T>(`ServiceAccountService/${method}`, request, manager);
  const account = await manage<machinesV1.ServiceAccount>('CreateServiceAccount', { name: 'bench' });
  const account_id = account.id;
  const { client_secret } = await manage<machinesV1.AddSecretResponse>('AddSecret', { account_id });
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x, y } = publicKey.export({ format: 'jwk' });
  await manage('AddPublicKey', { account_id, kid: 'bench', alg: 'ES256', x, y });
  const created = await call<machinesV1.CreateApiKeyResponse>(
    'ApiKeyService/CreateApiKey',
    { name: 'bench', owner_id: account_id },
    manager,
  );
  const digest = createHash('sha256').update(created.secret).digest();
  const gateway = { subject: 'gateway', roles: 'gateway' };

  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const assertion = () => {
    const exp = Math.floor(Date.now() / 1000) + 240;
    const claims = { iss: account_id, sub: account_id, aud: ISSUER, exp, jti: randomUUID() };
    const signed = `${part({ alg: 'ES256', kid: 'bench' })}.${part(claims)}`;
    const signature = sign('sha256', Buffer.from(signed), { key: privateKey, dsaEncoding: 'ieee-p1363' });
    return `${signed}.${signature.toString('base64url')}`;
  };
  const times = (count: number, make: () => () => Promise<unknown>) => Array.from({ length: count }, make);
  const token = (shown: object) =>
    call<userV1.TokenResponse>('OAuthService/Token', { grant_type: 'client_credentials', ...shown });
  return {
    'look-up of a key': async (count) =>
      times(count, () => async () => {
        const request = { digest };
        const { state } = await call<{ state: number }>('ApiKeyVerificationService/VerifyApiKey', request, gateway);
        if (state !== STATE_GOOD) throw new Error(`the key has the state ${state}`);
      }),
    'client_credentials with a secret': async (count) =>
      times(count, () => () => token({ client_id: account_id, client_secret })),
    'client_credentials by private_key_jwt': async (count) =>
      times(count, () => {
        const shown = { client_assertion_type: ASSERTION_TYPE, client_assertion: assertion() };
        return () => token(shown);
      }),
  };
}

/** Makes calls one after the other until there are none left; several may take from the same list. */
async function drain(calls: (() => Promise<unknown>)[]): Promise<void> {
  for (let next = calls.pop(); next !== undefined; next = calls.pop()) await next();
}

async function startUser(url: string, folder: string): Promise<Replica> {
  const port = await freePort();
  const child = spawn(process.execPath, [fileURLToPath(new URL('../dist/main.js', import.meta.url))], {
    env: {
      ...process.env,
      DATABASE_URL: url,
      MASTER_KEY: randomBytes(32).toString('base64'),
      ADMIN_PASSWORD_FILE: join(folder, 'admin-password'),
      USER_PORT: String(port),
      USER_ADMIN_PORT: '0',
      REFRESH_PER_MINUTE: '1000000',
      TOKEN_ISSUER: ISSUER,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const chunk of child.stdout!) if (String(chunk).includes('"ready"')) break;
  child.stdout!.resume();
  return { child, port };
}

interface Identity {
  readonly subject: string;
  readonly roles?: string;
}

/** Calls a method such as `UserService/Login`. */
type Call = <T>(method: string, request: object, identity?: Identity) => Promise<T>;
type Method = (request: object, metadata: Metadata, answered: (error: Error | null, answer: never) => void) => void;
type Client = Record<string, Method> & { close(): void };
type ClientClass = new (address: string, channel: object) => Client;

function connect(address: string): { call: Call; close(): void } {
  const options = { keepCase: true, longs: String, defaults: true, includeDirs: [protoRoot] };
  const files = ['sluice/user/v1/user.proto', 'sluice/machines/v1/machines.proto'];
  const { sluice } = loadPackageDefinition(loadSync(files, options)) as unknown as Record<
    'sluice',
    Record<'user' | 'machines', { v1: Record<string, ClientClass> }>
  >;
  const classes = { ...sluice.user.v1, ...sluice.machines.v1 };
  const clients = new Map<string, Client>();
  return {
    call: (path, request, identity) => {
      const [service, method] = path.split('/') as [string, string];
      let client = clients.get(service);
      if (!client) clients.set(service, (client = new classes[service]!(address, credentials.createInsecure())));
      const metadata = new Metadata();
      if (identity) metadata.set('x-sluice-subject', identity.subject);
      if (identity?.roles) metadata.set('x-sluice-roles', identity.roles);
      metadata.set('x-sluice-tenant', 'default');
      return new Promise((resolve, reject) => {
        client[method]!(request, metadata, (error, answer) => (error ? reject(error) : resolve(answer)));
      });
    },
    close: () => {
      for (const client of clients.values()) client.close();
    },
  };
}

interface Measure {
  readonly perSecond: number;
  readonly serviceMicros: number;
  readonly postgresMicros: number;
}

async function measured(
  calls: number,
  cpuOfService: () => number,
  cpuOfPostgres: () => number,
  work: () => Promise<void>,
): Promise<Measure> {
  const [service, postgres, started] = [cpuOfService(), cpuOfPostgres(), performance.now()];
  await work();
  const seconds = (performance.now() - started) / 1000;
  const micros = (before: number, after: number) => Math.round(((after - before) * 1000) / calls);
  return {
    perSecond: Math.round(calls / seconds),
    serviceMicros: micros(service, cpuOfService()),
    postgresMicros: micros(postgres, cpuOfPostgres()),
  };
}

function report(name: string, rounds: readonly Measure[]): void {
  const median = (pick: (round: Measure) => number) =>
    rounds.map(pick).toSorted((a, b) => a - b)[Math.floor(rounds.length / 2)]!;
  const micros = median(({ serviceMicros }) => serviceMicros);
  console.log(
    `${name}: ${median(({ perSecond }) => perSecond)} a second here; CPU per call: service ${micros} µs, ` +
      `Postgres ${median(({ postgresMicros }) => postgresMicros)} µs; ${Math.round(1e6 / micros)} a second per core of the service`,
  );
}

async function latencies(call: () => Promise<unknown>, storm: { over: boolean }, max = Infinity): Promise<number[]> {
  const times: number[] = [];
  while (!storm.over && times.length < max) {
    const started = performance.now();
    await call();
    times.push(performance.now() - started);
  }
  return times;
}

/** User and system time of a process, of all its threads. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** The same of a process and its children, those that have ended included. */
function cpuOfTree(root: number): number {
  let total = 0;
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const fields = readFileSync(`/proc/${name}/stat`, 'utf8').split(') ')[1]!.split(' ');
      const own = Number(name) === root;
      if (!own && Number(fields[1]) !== root) continue;
      total += Number(fields[11]) + Number(fields[12]) + (own ? Number(fields[13]) + Number(fields[14]) : 0);
    } catch {
      // The process has ended meanwhile; its time is in its parent's.
    }
  }
  return total * TICK_MS;
}

await main();
