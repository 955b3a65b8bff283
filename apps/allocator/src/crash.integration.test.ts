/**
 * Replicas and Postgres are killed with SIGKILL in turn while clients work; nothing acknowledged may be lost, nothing may
 * happen twice, and the balances must be right at every moment. Needs the build (`npm run build`). It runs for CRASH_SECONDS, 15
 * by default; `npm run crash -w apps/allocator` takes a minute.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type EmbeddedPostgres, startEmbeddedPostgres, withClient } from '@sluice/launch';
import { freePort } from '@sluice/testing';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verify } from './ledger/verify.js';
import { alice, AllocatorClient, CallError, type Identity } from './replicas.fixture.js';

const SECONDS = Number(process.env['CRASH_SECONDS'] ?? 15);
const CLIENTS = 16;
const BETWEEN_KILLS_MS = 1800;
/** Every second client is of a tenant with accounts. */
const budgeted: Identity = { ...alice, tenant: 'budgeted' };
const operator: Identity = { subject: 'root', tenant: 'default', roles: 'admin' };
const TEAMS = ['a', 'b'];
const KEYS = ['1', '2', '3'];
const root = fileURLToPath(new URL('../../..', import.meta.url));
const kinds = { allocate: 1, settle: 2, extend: 3, free: 4 } as const;
type Kind = keyof typeof kinds;

/** What was tried, and what was acknowledged, by request id and kind. */
interface Tally {
  tried: number;
  acknowledged: number;
}

/** A process of the allocator that comes back when it was killed. */
class KillableReplica {
  private child: ChildProcess | undefined;
  readonly client: AllocatorClient;
  deaths = 0;

  constructor(
    private readonly port: number,
    private readonly environment: NodeJS.ProcessEnv,
    private readonly log: number,
  ) {
    this.client = new AllocatorClient(`127.0.0.1:${port}`);
  }

  start(): void {
    const stop = { SHUTDOWN_DELAY_SECONDS: '0' };
    const env = {
      ...process.env,
      ...stop,
      ...this.environment,
      ALLOCATOR_PORT: String(this.port),
      ALLOCATOR_ADMIN_PORT: '0',
    };
    this.child = spawn(process.execPath, [join(root, 'apps/allocator/dist/main.js')], {
      cwd: root,
      env,
      stdio: ['ignore', this.log, this.log],
    });
  }

  async kill(): Promise<void> {
    const { child } = this;
    // A replica that found no database has ended by itself.
    if (child && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
    this.deaths++;
    this.start();
  }

  /** Starts it again when it has ended by itself. */
  keepAlive(): void {
    if (this.child?.exitCode !== null || this.child.signalCode !== null) this.start();
  }

  async stop(): Promise<void> {
    this.client.close();
    if (!this.child || this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGTERM');
    await once(this.child, 'exit');
  }
}

describe('crashes', () => {
  let folder = '';
  let postgres: EmbeddedPostgres;
  const replicas: KillableReplica[] = [];

  const startDatabase = (port?: number) =>
    startEmbeddedPostgres({
      dataDir: join(folder, 'data'),
      password: 'crash',
      logFile: join(folder, 'postgres.log'),
      ...(port !== undefined && { port }),
      settings: { restart_after_crash: 'off' },
    });

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-crash-'));
    postgres = await startDatabase();
    const environment = {
      LOG_LEVEL: 'error',
      ALLOCATOR_DATABASE_URL: postgres.url('postgres'),
      NODES: 'n1,n2,n3,n4',
      NODE_BUDGET: '3000',
    };
    const log = openSync(join(folder, 'replicas.log'), 'a');
    for (let index = 0; index < 2; index++) replicas.push(new KillableReplica(await freePort(), environment, log));
    for (const replica of replicas) replica.start();
    await ready(replicas);
    await makeAccounts((replicas[0] as KillableReplica).client);
  });

  afterAll(async () => {
    await Promise.all(replicas.map((replica) => replica.stop()));
    await postgres.stop();
    rmSync(realpathSync(join(folder, 'data')), { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
  });

  it(
    'loses nothing that was acknowledged, does nothing twice, and is right at every moment',
    async () => {
      const tallies = new Map<string, Record<Kind, Tally>>();
      const over = new AbortController();
      const breaches: unknown[] = [];
      const watching = watchInvariant(() => postgres.url('postgres'), over.signal, breaches);
      const clients = Array.from({ length: CLIENTS }, (_, index) =>
        work(`c${index}`, replicas, tallies, over.signal, index % 2 === 1),
      );
      let databaseDeaths = 0;
      const end = Date.now() + SECONDS * 1000;
      for (let turn = 0; Date.now() < end; turn++) {
        await delay(BETWEEN_KILLS_MS);
        if (turn % 3 < 2) await (replicas[turn % 3] as KillableReplica).kill();
        else {
          process.kill(postgres.pid, 'SIGKILL');
          await postgres.ended;
          postgres = await restarted(() => startDatabase(postgres.port));
          databaseDeaths++;
        }
        for (const replica of replicas) replica.keepAlive();
      }
      over.abort();
      for (const replica of replicas) replica.keepAlive();
      await Promise.all(clients);
      const looks = await watching;
      expect(breaches).toEqual([]);
      await withClient(postgres.url('postgres'), async (client) => {
        await client.query('set search_path to budget');
        const { rules, ledgerEntries } = await verify(client);
        for (const { name, breaches: broken } of rules) expect(broken, name).toEqual([]);
        const { rows } = await client.query<{ request_id: string; kind: number; count: number }>(
          'select request_id, kind::int, count(*)::int from ledger where request_id is not null and kind < 5 group by 1, 2',
        );
        const recorded = new Map(rows.map(({ request_id, kind, count }) => [`${request_id} ${kind}`, count]));
        const wrong = [...tallies].flatMap(([id, tally]) => wrongOf(id, tally, recorded));
        expect(wrong).toEqual([]);
        const acknowledged = [...tallies.values()]
          .flatMap(Object.values)
          .reduce((sum, { acknowledged: n }) => sum + n, 0);
        expect(acknowledged).toBeGreaterThan(100);
        console.log(
          `${replicas[0]!.deaths + replicas[1]!.deaths} replicas and ${databaseDeaths} databases killed in ${SECONDS} s; ` +
            `${acknowledged} operations acknowledged, ${ledgerEntries} entries in the ledger, ${looks} looks at the invariant`,
        );
        // The limits were reached.
        const { rows: reached } = await client.query('select from budget_events where kind = 2');
        expect(reached.length).toBeGreaterThan(0);
      });
    },
    SECONDS * 1000 + 60_000,
  );
});

/** Where the ledger disagrees with what the clients know. */
function wrongOf(id: string, tally: Record<Kind, Tally>, recorded: ReadonlyMap<string, number>): string[] {
  return (Object.keys(kinds) as Kind[]).flatMap((kind) => {
    const { tried, acknowledged } = tally[kind];
    const count = recorded.get(`${id} ${kinds[kind]}`) ?? 0;
    // An extension is a change every time; the others change something once, however often they are repeated.
    const most = kind === 'extend' ? tried : Math.min(1, tried);
    const least = kind === 'extend' ? acknowledged : Math.min(1, acknowledged);
    return count < least || count > most ? [`${id} ${kind}: ${count} entries for ${acknowledged} of ${tried}`] : [];
  });
}

/** One client: allocates, then extends, settles and frees at random, and repeats what was not answered. */
async function work(
  name: string,
  replicas: readonly KillableReplica[],
  tallies: Map<string, Record<Kind, Tally>>,
  over: AbortSignal,
  accounted: boolean,
): Promise<void> {
  const random = (below: number) => Math.floor(Math.random() * below);
  for (let number = 0; !over.aborted; number++) {
    const id = `${name}-${number}`;
    const none = (): Tally => ({ tried: 0, acknowledged: 0 });
    const tally = { allocate: none(), settle: none(), extend: none(), free: none() };
    tallies.set(id, tally);
    const attempt = async (kind: Kind, request: object): Promise<boolean> => {
      for (let tries = 0; tries < 40; tries++) {
        tally[kind].tried++;
        try {
          const replica = replicas[random(replicas.length)] as KillableReplica;
          const { state } = await replica.client.call(
            kind,
            { request_id: id, ...request },
            accounted ? budgeted : alice,
            2000,
          );
          // What its lease has freed already is answered as expired, and nothing is recorded.
          if (!(kind === 'free' && state === 'EXPIRED')) tally[kind].acknowledged++;
          return true;
        } catch (error) {
          if (!(error instanceof CallError)) throw error;
          const transient = /^(UNAVAILABLE|OVERLOADED|DEADLINE_EXCEEDED|INTERNAL|gRPC (1|2|4|13|14))$/.test(error.code);
          if (!transient) {
            // Refused: nothing was changed, and nothing should be.
            return false;
          }
          if (kind === 'extend') return false;
          await delay(25);
        }
      }
      return false;
    };
    const tokens = 1 + random(50);
    const charged = accounted && {
      account: `${TEAMS[random(2)]}/${KEYS[random(3)]}`,
      pool: 'wide',
      cost_micros: tokens * 3,
    };
    const ttl_seconds = random(3) === 0 ? 1 + random(3) : 0;
    if (!(await attempt('allocate', { token_count: tokens, ttl_seconds, ...charged }))) {
      await delay(5);
      continue;
    }
    if (random(4) === 0) await attempt('extend', { ttl_seconds: 2 + random(5) });
    if (random(3) === 0) await attempt('settle', { token_count: accounted && random(5) === 0 ? 2 * tokens : 1 });
    if (random(12) > 0) await attempt('free', {});
  }
}

/** Looks at the invariant from a connection of its own for as long as it goes on. @returns how often it looked */
async function watchInvariant(url: () => string, over: AbortSignal, breaches: unknown[]): Promise<number> {
  let looks = 0;
  while (!over.aborted) {
    const client = new pg.Client({ connectionString: url(), options: '-c search_path=budget' });
    client.on('error', () => undefined);
    try {
      await client.connect();
      while (!over.aborted) {
        const { rows } = await client.query(
          `select n.*, held from nodes n left join lateral (
               select coalesce(sum(case a.state when 1 then token_count when 2 then settled else 0 end), 0) as held
                 from allocations a where a.node_id = n.node_id and a.state in (1, 2)) a on true
             where n.used <> held or n.used < 0 or n.used > n.capacity`,
        );
        breaches.push(...rows);
        const { rows: limits } = await client.query(
          `select p.*, held from periods p left join lateral (
               select coalesce(sum(case p.unit
                   when 1 then case a.state when 1 then a.token_count else a.settled end
                   when 2 then case a.state when 1 then a.cost else a.settled_cost end else 1 end), 0) as held
                 from charge_sets c join allocations a on a.set_id = c.set_id where p.row_id = any (c.rows) and a.state in (1, 2)) a on true
             where p.used <> held or p.used < 0`,
        );
        breaches.push(...limits);
        looks++;
        await delay(20);
      }
    } catch {
      // The database is being killed; look again when it is back.
      await delay(50);
    } finally {
      await client.end().catch(() => undefined);
    }
  }
  return looks;
}

/** Two teams of three keys, with limits that are reached again and again, on a node of their own with a window. */
async function makeAccounts(client: AllocatorClient): Promise<void> {
  const tenant = 'budgeted';
  const call = (method: string, request: object) => client.call(method, request, operator);
  await call('addNode', { node_id: 'w1', pool: 'wide', capacity: 10_000_000, window_limit: 3000, window_seconds: 2 });
  for (const name of TEAMS) {
    await call('createAccount', { tenant, name });
    for (const key of KEYS) await call('createAccount', { tenant, parent: name, name: key });
    await call('setLimit', { tenant, account: name, unit: 'tokens', period: 'minute', amount: 200 });
    await call('setLimit', {
      tenant,
      account: `${name}/1`,
      unit: 'requests',
      period: 'minute',
      amount: 40,
      mode: 'soft',
    });
  }
  await call('setLimit', {
    tenant,
    account: '-',
    unit: 'micro_usd',
    period: 'day',
    zone: 'Europe/Berlin',
    amount: 30_000,
  });
}

/** The killed server's children hold its memory for a moment. */
async function restarted(start: () => Promise<EmbeddedPostgres>): Promise<EmbeddedPostgres> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await start();
    } catch (error) {
      if (attempt === 50) throw error;
      await delay(100);
    }
  }
}

async function ready(replicas: readonly KillableReplica[]): Promise<void> {
  for (const { client } of replicas) {
    for (let tries = 0; ; tries++) {
      try {
        await client.call('getUsage', {});
        break;
      } catch (error) {
        if (tries === 200) throw error;
        await delay(50);
      }
    }
  }
}
