import { parseArgs } from 'node:util';
import type { machinesV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import type { Call } from '@sluice/service';
import { createLogger, newTraceContext, Registry } from '@sluice/telemetry';
import type { DataSource } from 'typeorm';
import { readEmail } from '../accounts/email.js';
import { type ApiKeyRow } from '../api-keys/api-key-store.js';
import { ApiKeys, type KeyManager, ownerOf, type ShownApiKey } from '../api-keys/api-keys.js';
import { AuditLog } from '../audit/audit-log.js';
import { LateRecords } from '../audit/late-records.js';
import { UUID } from '../sessions/sessions.js';
import type { UserSettings } from '../settings.js';
import { openUserDatabase } from '../user.module.js';
import { runCommand } from './environment.js';

const usage = `Usage: npm run keys -- COMMAND [--tenant NAME]
  API keys. The keys that tokens are signed with: npm run signing-keys.
  create --owner OWNER --name NAME [--test] [--role R]… [--scope S]… [--method M]… [--model M]… [--network N]… [--account A] [--days N]
               shows the key, this once; OWNER is an e-mail address, or the id of a user or service account
  list [--owner OWNER]
  show ID
  rename ID NAME
  rotate ID [--overlap SECONDS]   a new text for the key; the former one works on for the overlap, a day when it is left out
  revoke ID    every gateway refuses it within a second`;

/** Commands that were here before there were API keys. */
const MOVED: ReadonlySet<string> = new Set(['withdraw', 'end-sessions', 'change-master-key']);
const SECONDS_A_DAY = 86_400;
const LISTED_MAX = 1000;

const text = { type: 'string' } as const;
const texts = { type: 'string', multiple: true } as const;
const flag = { type: 'boolean' } as const;
const options = {
  ...{ test: flag, tenant: text, owner: text, name: text, account: text, days: text, overlap: text },
  ...{ role: texts, scope: texts, method: texts, model: texts, network: texts },
} as const;

await runCommand(usage, async (settings) => {
  const [name = '', ...rest] = process.argv.slice(2);
  if (MOVED.has(name) || (name === 'rotate' && (rest.length === 0 || rest[0] === '--now'))) {
    const moved = ['npm run signing-keys --', name, ...rest].join(' ');
    console.error(`Signing keys have a command of their own now: ${moved}`);
    return 64;
  }
  const { values, positionals } = parse(rest);
  const read = settings();
  const dataSource = await openUserDatabase(read);
  try {
    return await run(dataSource, read, name, positionals, values);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    console.error(error.message);
    return 1;
  } finally {
    await dataSource.destroy();
  }
});

function parse(args: string[]) {
  try {
    return parseArgs({ args, allowPositionals: true, options });
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    process.exit(64);
  }
}

type Values = ReturnType<typeof parse>['values'];

async function run(
  dataSource: DataSource,
  settings: UserSettings,
  name: string,
  [id = '', title = '', ...more]: string[],
  values: Values,
) {
  const audit = new AuditLog(dataSource, new LateRecords(createLogger('user', 'fatal'), new Registry()));
  const keys = new ApiKeys(dataSource, audit, settings);
  const tenant = values.tenant ?? settings.DEFAULT_TENANT;
  const by: KeyManager = { tenant, subject: '', isAdmin: true, isOperator: true, scope: '' };
  const call = commandCall();
  if (more.length > 0) return undefined;
  if (name === 'create' && id === '' && values.owner !== undefined && values.name !== undefined) {
    const owner = await ownerId(dataSource, tenant, values.owner);
    return printShown(await keys.create(call, by, requestOf(owner, values.name, values)));
  }
  if (name === 'list' && id === '') {
    const owner = values.owner === undefined ? '-' : await ownerId(dataSource, tenant, values.owner);
    for (const key of await keys.list(call, by, owner, null, LISTED_MAX)) console.log(lineOf(key));
    console.error('Signing keys: npm run signing-keys -- list');
    return 0;
  }
  if (name === 'show' && id !== '' && title === '') return printKey(await keys.get(call, by, id));
  if (name === 'rename' && id !== '' && title !== '') return printKey(await keys.rename(call, by, id, title));
  if (name === 'rotate' && id !== '' && title === '') {
    const overlap = values.overlap === undefined ? undefined : Number(values.overlap);
    if (overlap !== undefined && !Number.isInteger(overlap)) return undefined;
    return printShown(await keys.rotate(call, by, id, overlap));
  }
  if (name === 'revoke' && id !== '' && title === '') return printKey(await keys.revoke(call, by, id));
  return undefined;
}

function requestOf(owner_id: string, name: string, values: Values): machinesV1.CreateApiKeyRequest {
  const { role = [], scope = [], method = [], model = [], network = [], days = '0', account = '', test } = values;
  return {
    ...{ name, owner_id, environment: test ? 'test' : 'live', roles: role, scopes: scope, account },
    restrictions: { methods: method, models: model, networks: network },
    expires_in_seconds: Math.round(Number(days) * SECONDS_A_DAY),
  };
}

/** @throws Problem NOT_FOUND */
async function ownerId(dataSource: DataSource, tenant: string, owner: string): Promise<string> {
  if (UUID.test(owner)) return owner;
  const [row] = await dataSource.query<{ id: string }[]>('select id from users where tenant = $1 and email_key = $2', [
    tenant,
    readEmail(owner).key,
  ]);
  if (!row) throw new Problem('NOT_FOUND', `The tenant ${tenant} has no user with the address ${owner}.`);
  return row.id;
}

function commandCall(): Call {
  return {
    ...{ caller: undefined, tenant: '', clientAddress: '', service: '', path: 'npm run keys', deadline: undefined },
    ...{ signal: new AbortController().signal, trace: newTraceContext(undefined) },
  };
}

function printShown({ key, secret }: ShownApiKey): number {
  printKey(key);
  console.log(`\n${secret}\n\nIt is shown this once: keep it where secrets are kept.`);
  return 0;
}

function printKey(key: ApiKeyRow): number {
  console.log(lineOf(key));
  const lists = {
    roles: key.roles,
    scopes: key.scopes,
    methods: key.methods,
    models: key.models,
    networks: key.networks,
  };
  for (const [name, entries] of Object.entries(lists))
    if (entries.length > 0) console.log(`  ${name}: ${entries.join(', ')}`);
  if (key.account !== '') console.log(`  account: ${key.account}`);
  return 0;
}

function lineOf(key: ApiKeyRow): string {
  const shown = key.texts.map(({ prefix, last_four }) => `${prefix}…${last_four}`).join(' ');
  const state = key.revoked_at ? 'revoked' : key.expires_at && key.expires_at < new Date() ? 'expired' : 'good';
  const used = key.last_used_at ? `used ${key.last_used_at.toISOString()}` : 'never used';
  return `${key.id}  ${state.padEnd(8)}${JSON.stringify(key.name)} of ${ownerOf(key)}  ${shown}  ${used}`;
}
