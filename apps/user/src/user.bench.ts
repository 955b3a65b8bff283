/**
 * Refreshes and logins of one user process on a real Postgres, asked over gRPC from this process: calls a second, CPU time per
 * call of the service and of Postgres, and how long an unrelated call takes beside logins at the default argon2 setting.
 *
 *   npm run bench user
 */
import { randomBytes } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { credentials, loadPackageDefinition, Metadata } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoRoot, type userV1 } from '@sluice/contract';
import { freePort, startPostgres } from '@sluice/testing';

const CLIENTS = 32;
const ROUNDS = 5;
const REFRESHES = 3000;
const LOGINS = 60;
/** Of /proc/pid/stat: USER_HZ is 100 on every Linux that Node runs on. */
const TICK_MS = 10;
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
      await call('Register', credentials);
      tokens.push(await call<userV1.TokenResponse>('Login', credentials));
    }
    const cpuOfService = () => cpuMs(replica.child.pid!);
    const cpuOfPostgres = () => cpuOfTree(postgres.server.pid);

    const refresh = async (count: number) => {
      await Promise.all(
        tokens.map(async (_, index) => {
          for (let done = 0; done < count / CLIENTS; done++) {
            const refresh_token = tokens[index]!.refresh_token;
            tokens[index] = await call<userV1.TokenResponse>('Refresh', { refresh_token });
          }
        }),
      );
    };
    await refresh(REFRESHES);
    const refreshes = [];
    for (let round = 0; round < ROUNDS; round++) {
      refreshes.push(await measured(REFRESHES, cpuOfService, cpuOfPostgres, () => refresh(REFRESHES)));
    }
    report('refresh', refreshes);

    const { sub } = JSON.parse(Buffer.from(tokens[0]!.access_token.split('.')[1]!, 'base64url').toString()) as {
      sub: string;
    };
    const alone = await latencies(() => call('GetMe', {}, sub), { over: false }, 300);
    const storm = { over: false };
    const beside = latencies(() => call('GetMe', {}, sub), storm);
    const logins = [];
    for (let round = 0; round < 3; round++) {
      logins.push(
        await measured(LOGINS, cpuOfService, cpuOfPostgres, async () => {
          const all = Array.from({ length: LOGINS }, (_, index) =>
            call('Login', { email: `bench${index % CLIENTS}@example.com`, password: PASSWORD }),
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
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  for await (const chunk of child.stdout!) if (String(chunk).includes('"ready"')) break;
  child.stdout!.resume();
  return { child, port };
}

type Call = <T>(method: string, request: object, subject?: string) => Promise<T>;
type Method = (request: object, metadata: Metadata, answered: (error: Error | null, answer: never) => void) => void;
type ClientClass = new (address: string, channel: object) => Record<string, Method> & { close(): void };

function connect(address: string): { call: Call; close(): void } {
  const options = { keepCase: true, longs: String, defaults: true, includeDirs: [protoRoot] };
  const loaded = loadPackageDefinition(loadSync('sluice/user/v1/user.proto', options)) as unknown as {
    sluice: { user: { v1: { UserService: ClientClass } } };
  };
  const client = new loaded.sluice.user.v1.UserService(address, credentials.createInsecure());
  return {
    call: (method, request, subject) => {
      const metadata = new Metadata();
      if (subject !== undefined) metadata.set('x-sluice-subject', subject);
      metadata.set('x-sluice-tenant', 'default');
      return new Promise((resolve, reject) => {
        client[method]!(request, metadata, (error, answer) => (error ? reject(error) : resolve(answer)));
      });
    },
    close: () => client.close(),
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
