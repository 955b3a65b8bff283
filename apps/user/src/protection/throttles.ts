import { createHash } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { type BlockedBy, Problem } from '@sluice/problem';
import { type Caller, execute, statement } from '@sluice/storage';
import { DataSource } from 'typeorm';
import { SETTINGS, type UserSettings } from '../settings.js';
import { networkOf } from '@sluice/identity';

/** Failures after which waiting begins, in multiples of LOGIN_FAILURES_FREE, and the longest wait. */
interface Dimension {
  readonly free: number;
  readonly waitSecondsMax: number;
  readonly blockedBy: BlockedBy;
}

/**
 * What wrong passwords are counted against. An account is guarded closely against one address, and loosely against all addresses
 * together. An address that the right password came from before is not kept waiting for what others have counted against the account:
 * a stranger who guesses must not keep its owner out.
 */
const dimensions = {
  pair: { free: 1, waitSecondsMax: 900, blockedBy: 'user' },
  account: { free: 4, waitSecondsMax: 60, blockedBy: 'user' },
  address: { free: 10, waitSecondsMax: 900, blockedBy: 'ip' },
} as const satisfies Record<string, Dimension>;

type DimensionName = keyof typeof dimensions;

/** What one attempt is known by. */
export interface AttemptKeys {
  /** What it counts against. */
  readonly counted: ReadonlyMap<DimensionName, string>;
  /** The account and the network together, as they are remembered after a success; empty without a network. */
  readonly known: string;
}

const longestWait = statement<{ key: string; wait_ms: number }>(
  'throttle-check',
  `select key, ceil(extract(epoch from blocked_until - clock_timestamp()) * 1000)::int as wait_ms from throttles
   where key = any($1) and blocked_until > clock_timestamp()
     and not (key = $2 and exists (select from known_networks k where k.key = $3))
   order by blocked_until desc limit 1`,
);

/** The n-th failure beyond the free ones earns a wait of 2^n seconds. What is an hour old counts no more. Rows are locked in the order of their keys. */
const countFailure = statement(
  'throttle-fail',
  `insert into throttles as t (key, failures, blocked_until)
   select key, 1, case when free <= 1 then clock_timestamp() + interval '1 second' else '-infinity' end
   from unnest($1::text[], $2::int[], $3::int[]) as d (key, free, wait_max) order by key
   on conflict (key) do update set
     failures = case when t.changed_at < clock_timestamp() - interval '1 hour' then 1 else t.failures + 1 end,
     blocked_until = case
       when t.changed_at < clock_timestamp() - interval '1 hour' then '-infinity'
       else (
         select case when t.failures + 1 < free then '-infinity'::timestamptz
           else clock_timestamp() + least(wait_max, 2 ^ least(t.failures + 1 - free, 20)) * interval '1 second' end
         from unnest($1::text[], $2::int[], $3::int[]) as d (key, free, wait_max) where d.key = t.key
       ) end,
     changed_at = clock_timestamp()`,
);

/** A network is written down once a day. */
const succeed = statement(
  'throttle-succeed',
  `with forgotten as (delete from throttles where key = any($1))
   insert into known_networks as k (key) select $2 where $2 <> ''
   on conflict (key) do update set seen_at = clock_timestamp() where k.seen_at < clock_timestamp() - interval '1 day'`,
);

/** Back-off after wrong passwords, kept in Postgres so that all replicas count together. */
@Injectable()
export class Throttles {
  constructor(
    private readonly dataSource: DataSource,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  /** The same keys for accounts that exist and accounts that do not. */
  keysOf(tenant: string, emailKey: string, address: string): AttemptKeys {
    const account = Throttles.accountOf(emailKey);
    const network = networkOf(address);
    const counted = new Map<DimensionName, string>([['account', `account/${tenant}/${account}`]]);
    if (network === '') return { counted, known: '' };
    counted.set('pair', `pair/${tenant}/${account}/${network}`);
    counted.set('address', `address/${network}`);
    return { counted, known: `known/${tenant}/${account}/${network}` };
  }

  /** How an address stands in the keys. */
  static accountOf(emailKey: string): string {
    return createHash('sha256').update(emailKey).digest('hex').slice(0, 32);
  }

  /** @throws Problem RATE_LIMIT_EXCEEDED while one of the keys is blocked */
  async check(call: Caller, { counted, known }: AttemptKeys): Promise<void> {
    const values = [[...counted.values()], counted.get('account'), known];
    const [blocked] = await execute(this.dataSource, call, longestWait, values);
    if (!blocked) return;
    const name = blocked.key.slice(0, blocked.key.indexOf('/')) as DimensionName;
    throw new Problem('RATE_LIMIT_EXCEEDED', 'Too many wrong passwords; wait before trying again.', {
      details: {
        blocked_by: dimensions[name].blockedBy,
        policy: `login-failures-${name}`,
        retry_after_ms: blocked.wait_ms,
      },
    });
  }

  async failed(call: Caller, { counted }: AttemptKeys): Promise<void> {
    const names = [...counted.keys()];
    await execute(this.dataSource, call, countFailure, [
      [...counted.values()],
      names.map((name) => dimensions[name].free * this.settings.LOGIN_FAILURES_FREE),
      names.map((name) => dimensions[name].waitSecondsMax),
    ]);
  }

  /**
   * The owner has shown the password: what was counted against the account is forgotten, what was counted against the address is not,
   * and the network is known from now on.
   */
  async succeeded(call: Caller, { counted, known }: AttemptKeys): Promise<void> {
    await execute(this.dataSource, call, succeed, [[counted.get('pair') ?? '', counted.get('account')], known]);
  }
}
