import { parseArgs } from 'node:util';
import type { machinesV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import { type Call, withCall } from '@sluice/service';
import { createLogger, newTraceContext, Registry } from '@sluice/telemetry';
import { AuditLog } from '../audit/audit-log.js';
import { LateRecords } from '../audit/late-records.js';
import { ServiceAccountsController } from '../clients/service-accounts.controller.js';
import { UUID } from '../sessions/sessions.js';
import { openUserDatabase } from '../user.module.js';
import { runCommand } from './environment.js';

const usage = `Usage: npm run service-accounts -- COMMAND [--tenant ID]
  Accounts of programs. ACCOUNT is a name or an id; the id is the client_id at POST /oauth/token.
  create NAME [--role R]… [--scope S]… [--audience A]…
  list
  show ACCOUNT
  set-grants ACCOUNT [--role R]… [--scope S]… [--audience A]…   replaces them; tokens end
  add-secret ACCOUNT [--days N]      shows a client secret, this once; two at most, so that one can be replaced without an outage
  revoke-secret ACCOUNT SECRET-ID    no new tokens by it; those that it got live on until they expire: lock ends them
  lock ACCOUNT, unlock ACCOUNT       ends tokens and keys, and refuses new ones; takes them again
  delete ACCOUNT                     for good, with its secrets and keys`;

/** Who did it, in the audit log. */
const ACTOR = 'command-line';
const SECONDS_A_DAY = 86_400;
const PAGE = 200;

type Account = machinesV1.ServiceAccount;

interface Options {
  readonly role: string[];
  readonly scope: string[];
  readonly audience: string[];
  readonly days: string;
}

interface Command {
  /** What stands after the command. */
  readonly takes: 'nothing' | 'name' | 'account' | 'secret';
  /** @param which the account: its name for `name`, and its id for `account` and `secret` */
  run(accounts: ServiceAccountsController, which: string, options: Options, secret: string): Promise<readonly string[]>;
}

const commands: Readonly<Record<string, Command>> = {
  create: {
    takes: 'name',
    run: async (accounts, name, options) =>
      describe(await accounts.createServiceAccount({ name, ...grantsOf(options) })),
  },
  list: { takes: 'nothing', run: async (accounts) => (await all(accounts)).flatMap(describe) },
  show: {
    takes: 'account',
    run: async (accounts, account_id) => describe(await accounts.getServiceAccount({ account_id })),
  },
  'set-grants': {
    takes: 'account',
    run: async (accounts, account_id, options) =>
      describe(await accounts.setGrants({ account_id, ...grantsOf(options) })),
  },
  'add-secret': {
    takes: 'account',
    run: async (accounts, account_id, { days }) => {
      const expires_in_seconds = Math.round(Number(days) * SECONDS_A_DAY);
      const { service_account, client_secret } = await accounts.addSecret({ account_id, expires_in_seconds });
      const shown = ['', client_secret, '', 'It is shown this once: keep it where secrets are kept.'];
      return [...describe(service_account!), ...shown];
    },
  },
  'revoke-secret': {
    takes: 'secret',
    run: async (accounts, account_id, _, secret_id) => describe(await accounts.removeSecret({ account_id, secret_id })),
  },
  lock: {
    takes: 'account',
    run: async (accounts, account_id) => describe(await accounts.lockServiceAccount({ account_id })),
  },
  unlock: {
    takes: 'account',
    run: async (accounts, account_id) => describe(await accounts.unlockServiceAccount({ account_id })),
  },
  delete: {
    takes: 'account',
    run: async (accounts, account_id) => {
      await accounts.deleteServiceAccount({ account_id });
      return [`${account_id} is deleted`];
    },
  },
};

await runCommand(usage, async (settings) => {
  const texts = { type: 'string', multiple: true, default: [] as string[] } as const;
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...{ tenant: { type: 'string' }, days: { type: 'string', default: '0' } },
      ...{ role: texts, scope: texts, audience: texts },
    },
  });
  const [name = '', which = '', secret = '', ...rest] = positionals;
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command || rest.length > 0 || !(Number(values.days) >= 0)) return undefined;
  if ((which !== '') !== (command.takes !== 'nothing') || (secret !== '') !== (command.takes === 'secret')) {
    return undefined;
  }
  const read = settings();
  const dataSource = await openUserDatabase(read);
  try {
    const late = new LateRecords(createLogger('service-accounts', read.LOG_LEVEL), new Registry());
    const accounts = new ServiceAccountsController(dataSource, new AuditLog(dataSource, late), read);
    const said = await withCall(callOf(values.tenant ?? read.DEFAULT_TENANT), async () => {
      const found = command.takes === 'account' || command.takes === 'secret' ? await idOf(accounts, which) : which;
      return command.run(accounts, found, values, secret);
    });
    for (const line of said) console.log(line);
    return 0;
  } catch (error) {
    if (error instanceof Problem) throw new Error(`${error.code}: ${error.message}`, { cause: error });
    throw error;
  } finally {
    await dataSource.destroy();
  }
});

async function all(accounts: ServiceAccountsController): Promise<Account[]> {
  const found: Account[] = [];
  let page_token = '';
  do {
    const page = await accounts.listServiceAccounts({ page_size: PAGE, page_token });
    found.push(...page.service_accounts);
    page_token = page.next_page_token;
  } while (page_token !== '');
  return found;
}

/** @throws Error when the tenant has none of this name */
async function idOf(accounts: ServiceAccountsController, which: string): Promise<string> {
  if (UUID.test(which)) return which;
  const found = (await all(accounts)).find(({ name }) => name === which);
  if (!found) throw new Error(`the tenant has no service account ${which}; npm run service-accounts -- list shows all`);
  return found.id;
}

function grantsOf({ role, scope, audience }: Options) {
  return { roles: role, scopes: scope, audiences: audience };
}

function describe(account: Account): string[] {
  const { id, name, roles, scopes, audiences, locked, secrets, public_keys } = account;
  const lists = { scopes, audiences };
  return [
    `${id}  ${JSON.stringify(name)}  [${roles.join(' ')}]${locked ? '  locked' : ''}`,
    ...Object.entries(lists).flatMap(([list, entries]) =>
      entries.length > 0 ? `  ${list}: ${entries.join(' ')}` : [],
    ),
    ...secrets.map((secret) => `  secret ${secret.id}: …${secret.last_four}`),
    ...public_keys.map(({ kid, alg }) => `  public key ${kid}: ${alg}`),
  ];
}

function callOf(tenant: string): Call {
  const nobody = { session: '', scope: '', guest: false, account: '', key: '', models: [] };
  return {
    caller: { ...nobody, subject: ACTOR, tenant, roles: ['admin', 'operator'] },
    ...{ tenant, clientAddress: '', service: '', path: '/command', deadline: undefined },
    ...{ signal: new AbortController().signal, trace: newTraceContext(undefined) },
  };
}
