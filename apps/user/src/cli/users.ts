import { randomBytes } from 'node:crypto';
import { text as readAll } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { Problem } from '@sluice/problem';
import { type Call, withCall } from '@sluice/service';
import { createLogger, newTraceContext, Registry } from '@sluice/telemetry';
import type { DataSource } from 'typeorm';
import { accountStore, type UserRow } from '../accounts/account-store.js';
import { readEmail } from '../accounts/email.js';
import { PasswordHasher } from '../accounts/password-hasher.js';
import { PasswordStrength } from '../accounts/password-strength.js';
import { adminStore } from '../admin/admin-store.js';
import { UserChanges } from '../admin/user-changes.js';
import { AuditLog } from '../audit/audit-log.js';
import { LateRecords } from '../audit/late-records.js';
import { Outbox } from '../mail/outbox.js';
import { Invitations } from '../members/invitations.js';
import { Members } from '../members/members.js';
import { Tenants } from '../members/tenants.js';
import { PasswordChange } from '../passwords/password-change.js';
import { Deletion } from '../privacy/deletion.js';
import { Throttles } from '../protection/throttles.js';
import { sessionStore } from '../sessions/session-store.js';
import type { UserSettings } from '../settings.js';
import { openUserDatabase } from '../user.module.js';
import { runCommand } from './environment.js';

const usage = `Usage: npm run users -- COMMAND [EMAIL] [--tenant ID] [--role NAME]...
  list [EMAIL-PREFIX]       the accounts of the tenant, at most 200
  create EMAIL              makes an account with a password that is shown once and replaced at the first login
  invite EMAIL              mails an invitation
  invitations               those that nobody has accepted yet
  set-password EMAIL        reads a password from standard input; the next login must replace it
  expire-password EMAIL     the next login must choose another password; sessions end
  withdraw-password EMAIL   for one that somebody else knows: it is right no more, sessions end, a link to set another is mailed
  verify EMAIL              the address counts as verified
  lock EMAIL, unlock EMAIL  ends sessions and refuses new ones; takes them again
  sessions EMAIL            those that are alive
  end-sessions EMAIL        ends them; the account stays open
  delete EMAIL              ends sessions; the account is deleted when its grace is over
  restore EMAIL             keeps it after all
  tenant --tenant ID [--name NAME] [--open | --closed]   changes a tenant`;

/** Who did it, in the audit log. */
const ACTOR = 'command-line';

interface Options {
  readonly role: readonly string[];
  readonly name?: string | undefined;
  readonly open: boolean;
  readonly closed: boolean;
}

/** What commands work with; the service need not run. */
class Workbench {
  readonly members: Members;
  readonly invitations: Invitations;
  readonly deletion: Deletion;
  readonly tenants: Tenants;
  readonly changes: UserChanges;

  constructor(
    readonly dataSource: DataSource,
    readonly call: Call,
    settings: UserSettings,
  ) {
    const hasher = new PasswordHasher({
      memoryKib: settings.PASSWORD_MEMORY_KIB,
      passes: settings.PASSWORD_PASSES,
      concurrency: 1,
      queueMsMax: settings.PASSWORD_QUEUE_MS,
    });
    const audit = new AuditLog(dataSource, new LateRecords(createLogger('users', settings.LOG_LEVEL), new Registry()));
    const outbox = new Outbox(dataSource, settings);
    const change = new PasswordChange(dataSource, hasher, new Throttles(dataSource, settings));
    const strength = new PasswordStrength(settings);
    this.changes = new UserChanges(dataSource, audit);
    this.members = new Members(dataSource, this.changes, change, strength, outbox, audit);
    this.invitations = new Invitations(dataSource, change, strength, outbox, audit, settings);
    this.deletion = new Deletion(dataSource, outbox, audit, settings);
    this.tenants = new Tenants(dataSource, audit);
  }

  get tenant(): string {
    return this.call.caller!.tenant;
  }

  /** @throws Error when the tenant has nobody with this address */
  async find(email: string): Promise<UserRow> {
    const row = await accountStore.findByEmail(this.dataSource, this.call, this.tenant, readEmail(email));
    if (!row) throw new Error(`the tenant ${this.tenant} has no account ${email}`);
    return row;
  }
}

type Command = (bench: Workbench, email: string, options: Options) => Promise<string | readonly string[]>;

const commands: Readonly<Record<string, { readonly takes: 'email' | 'prefix' | 'nothing'; readonly run: Command }>> = {
  list: {
    takes: 'prefix',
    run: async ({ dataSource, call, tenant }, prefix) => {
      const rows = await adminStore.listUsers(
        dataSource,
        call,
        tenant,
        '00000000-0000-0000-0000-000000000000',
        prefix,
        200,
      );
      return rows.map(describe);
    },
  },
  create: {
    takes: 'email',
    run: async ({ call, members }, email, { role }) => {
      const password = randomBytes(15).toString('base64url');
      const row = await members.create(call, { email, display_name: '', roles: [...role], password, tenant: '' });
      return [describe(row), `password, shown once: ${password}`];
    },
  },
  invite: {
    takes: 'email',
    run: async ({ call, invitations }, email, { role }) => {
      const row = await invitations.create(call, { email, roles: [...role], tenant: '' });
      return `invited ${row.email}, until ${row.expires_at.toISOString()}; the user service mails it`;
    },
  },
  invitations: {
    takes: 'nothing',
    run: async ({ invitations }) =>
      (await invitations.list()).map(
        (row) => `${row.id}  ${row.email}  [${row.roles.join(' ')}]  until ${row.expires_at.toISOString()}`,
      ),
  },
  'set-password': {
    takes: 'email',
    run: async (bench, email) => {
      const user_id = (await bench.find(email)).id;
      const password = (await readAll(process.stdin)).replace(/\r?\n$/, '');
      return describe(await bench.members.setPassword(bench.call, { user_id, password, permanent: false }));
    },
  },
  'expire-password': {
    takes: 'email',
    run: async (bench, email) => describe(await bench.members.expirePassword(bench.call, (await bench.find(email)).id)),
  },
  'withdraw-password': {
    takes: 'email',
    run: async (bench, email) =>
      describe(await bench.members.withdrawPassword(bench.call, (await bench.find(email)).id)),
  },
  verify: {
    takes: 'email',
    run: changing('account.verify', 'email_verified_at = coalesce(email_verified_at, clock_timestamp())'),
  },
  lock: { takes: 'email', run: changing('account.lock', 'locked_at = coalesce(locked_at, clock_timestamp())', true) },
  unlock: { takes: 'email', run: changing('account.unlock', 'locked_at = null') },
  sessions: {
    takes: 'email',
    run: async (bench, email) => {
      const { id } = await bench.find(email);
      const rows = await sessionStore.list(bench.dataSource, bench.call, id, bench.tenant);
      return rows.map((row) => `${row.id}  since ${row.created_at.toISOString()}  ${row.address}  ${row.device}`);
    },
  },
  'end-sessions': {
    takes: 'email',
    run: async (bench, email) =>
      `${await bench.members.endSessions(bench.call, (await bench.find(email)).id, '')} sessions have ended`,
  },
  delete: {
    takes: 'email',
    run: async (bench, email) =>
      `${email} will be deleted on ${(await bench.deletion.closeOwn(bench.call, await bench.find(email))).toISOString()}`,
  },
  restore: {
    takes: 'email',
    run: async (bench, email) => {
      const userId = (await bench.find(email)).id;
      const { tenant, call, deletion } = bench;
      const update = deletion.unmark.bind(deletion);
      const change = { tenant, userId, action: 'account.restore' } as const;
      return describe(
        await bench.changes.change(call, { ...change, update: (manager) => update(manager, tenant, userId) }),
      );
    },
  },
  tenant: {
    takes: 'nothing',
    run: async ({ call, tenant, tenants }, _, { name, open, closed }) => {
      const open_registration = open || closed ? open : undefined;
      const row = await tenants.update(call, { tenant_id: tenant, name, open_registration });
      return `${row.id}  ${row.name}  ${row.open_registration ? 'open' : 'closed'}`;
    },
  },
};

await runCommand(usage, async (settings) => {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      tenant: { type: 'string' },
      role: { type: 'string', multiple: true, default: [] },
      name: { type: 'string' },
      open: { type: 'boolean', default: false },
      closed: { type: 'boolean', default: false },
    },
  });
  const [name = '', email = '', ...rest] = positionals;
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  const fits = { email: email !== '', prefix: true, nothing: email === '' };
  if (!command || rest.length > 0 || !fits[command.takes] || (values.open && values.closed)) return undefined;
  const read = settings();
  const dataSource = await openUserDatabase(read);
  try {
    const call = callOf(values.tenant ?? read.DEFAULT_TENANT);
    const said = await withCall(call, () => command.run(new Workbench(dataSource, call, read), email, values));
    for (const line of [said].flat()) console.log(line);
    return 0;
  } catch (error) {
    if (error instanceof Problem) throw new Error(`${error.code}: ${error.message}`, { cause: error });
    throw error;
  } finally {
    await dataSource.destroy();
  }
});

/** A change of one column, recorded, that may end the sessions. */
function changing(
  action: 'account.verify' | 'account.lock' | 'account.unlock',
  change: Parameters<typeof adminStore.change>[3],
  ends = false,
): Command {
  return async (bench, email) => {
    const { tenant } = bench;
    const userId = (await bench.find(email)).id;
    const row = await bench.changes.change(bench.call, {
      tenant,
      userId,
      action,
      because: ends ? 'account-locked' : undefined,
      update: (manager) => adminStore.change(manager, tenant, userId, change),
    });
    return describe(row);
  };
}

function callOf(tenant: string): Call {
  return {
    caller: {
      subject: ACTOR,
      tenant,
      session: '',
      roles: ['admin', 'operator'],
      scope: '',
      guest: false,
      account: '',
      key: '',
      models: [],
    },
    tenant,
    clientAddress: '',
    service: '',
    path: '/command',
    deadline: undefined,
    signal: new AbortController().signal,
    trace: newTraceContext(undefined),
  };
}

function describe(row: UserRow): string {
  const states = [
    row.guest && 'guest',
    row.locked_at && 'locked',
    row.password_expired && 'must change the password',
    !row.email_verified && 'unverified',
    row.delete_at && `deleted on ${row.delete_at.toISOString()}`,
  ].filter(Boolean);
  return `${row.id}  ${row.email ?? ''}  [${row.roles.join(' ')}]  ${states.join(', ')}`.trimEnd();
}
