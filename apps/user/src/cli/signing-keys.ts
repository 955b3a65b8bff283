import { setTimeout as delay } from 'node:timers/promises';
import { readSettings } from '@sluice/config';
import type { DataSource } from 'typeorm';
import { POLL_MS } from '../keys/keys.js';
import {
  changeMasterKey,
  endAllSessions,
  endSessions as endLateSessions,
  rotateKeys,
  withdrawKey,
} from '../keys/rotation.js';
import { masterKey, tokenReachSeconds, type UserSettings } from '../settings.js';
import { openUserDatabase } from '../user.module.js';
import { runCommand } from './environment.js';

const usage = `Usage: npm run signing-keys -- COMMAND
  The keys that access tokens are signed with. API keys: npm run keys.
  list               the signing keys and since when they are in use
  rotate             the next key signs from now on; the current one verifies until its last token has expired
  rotate --now       does not wait until verifiers know the next key
  withdraw KID       publishes a previous key no more: its tokens are refused within a minute
  end-sessions       replaces the refresh secret and ends every session of everybody
  change-master-key  encrypts the keys with MASTER_KEY_NEW (or MASTER_KEY_NEW_FILE) instead of MASTER_KEY`;

type Command = (dataSource: DataSource, settings: UserSettings, option?: string) => Promise<number>;

const commands: Readonly<Record<string, { readonly option: RegExp; readonly run: Command }>> = {
  list: { option: /^$/, run: list },
  rotate: { option: /^(--now)?$/, run: rotate },
  withdraw: { option: /^[\w-]+$/, run: withdraw },
  'end-sessions': { option: /^$/, run: endSessions },
  'change-master-key': { option: /^$/, run: changeKey },
};

await runCommand(usage, async (settings) => {
  const [name = '', option = '', ...rest] = process.argv.slice(2);
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (!command?.option.test(option) || rest.length > 0) return undefined;
  const read = settings();
  const dataSource = await openUserDatabase(read);
  try {
    return await command.run(dataSource, read, option);
  } finally {
    await dataSource.destroy();
  }
});

async function list(dataSource: DataSource): Promise<number> {
  const rows = await dataSource.query<{ kid: string; state: string; since: Date; verify_until: Date | null }[]>(
    `select kid, state, coalesce(activated_at, created_at) as since, verify_until from signing_keys order by created_at`,
  );
  for (const { kid, state, since, verify_until } of rows) {
    const until = verify_until ? `  verifies until ${verify_until.toISOString()}` : '';
    console.log(`${state.padEnd(9)}${kid}  since ${since.toISOString()}${until}`);
  }
  return 0;
}

async function rotate(dataSource: DataSource, settings: UserSettings, option?: string): Promise<number> {
  for (;;) {
    const rotation = await rotateKeys(dataSource, {
      masterKey: settings.MASTER_KEY,
      publishSeconds: option === '--now' ? 0 : settings.KEY_PUBLISH_SECONDS,
      tokenSeconds: tokenReachSeconds(settings),
      auditTenant: settings.DEFAULT_TENANT,
      dueAfterSeconds: 0,
    });
    if (rotation.kind === 'rotated') {
      console.log(`${rotation.current} signs from now on; ${rotation.previous} verifies until its tokens have expired`);
      return 0;
    }
    if (rotation.kind === 'not-due') return 0;
    console.log(`the next key is new: waiting ${rotation.waitSeconds} s until every verifier knows it`);
    await delay(rotation.waitSeconds * 1000);
  }
}

async function withdraw(dataSource: DataSource, settings: UserSettings, kid = ''): Promise<number> {
  if (await withdrawKey(dataSource, settings.DEFAULT_TENANT, kid)) {
    console.log(`${kid} is published no more; users with its tokens refresh them`);
    return 0;
  }
  console.error(`${kid} is no previous key; rotate first`);
  return 1;
}

async function endSessions(dataSource: DataSource, settings: UserSettings): Promise<number> {
  const ended = await endAllSessions(dataSource, settings.MASTER_KEY, settings.DEFAULT_TENANT);
  console.log(`${ended} sessions have ended; waiting until every replica has the new secret`);
  await delay(2 * POLL_MS);
  const late = await endLateSessions(dataSource.manager);
  console.log(`${late} of those who logged in meanwhile have ended too; whoever logs in from now on stays`);
  return 0;
}

async function changeKey(dataSource: DataSource, settings: UserSettings): Promise<number> {
  const { MASTER_KEY_NEW } = readSettings({ MASTER_KEY_NEW: masterKey });
  await changeMasterKey(dataSource, settings.MASTER_KEY, MASTER_KEY_NEW);
  console.log('the keys are encrypted with the new master key; restart the user service with it');
  return 0;
}
