import { setTimeout as delay } from 'node:timers/promises';
import { rotateKeys, VERIFY_SLACK_SECONDS } from '../keys/rotation.js';
import type { UserSettings } from '../settings.js';
import { openUserDatabase } from '../user.module.js';
import { runCommand } from './environment.js';

const usage = `Usage: npm run keys -- list | rotate [--now]
  list          the signing keys and since when they are in use
  rotate        the next key signs from now on; the current one verifies until its last token has expired
  rotate --now  does not wait until verifiers know the next key: after a compromise`;

await runCommand(usage, async (settings) => {
  const [command, option] = process.argv.slice(2);
  if (command === 'list' && option === undefined) return list(settings());
  if (command === 'rotate' && (option === undefined || option === '--now'))
    return rotate(settings(), option === '--now');
  return undefined;
});

async function list(settings: UserSettings): Promise<number> {
  const dataSource = await openUserDatabase(settings);
  try {
    const rows = await dataSource.query<{ kid: string; state: string; since: Date; verify_until: Date | null }[]>(
      `select kid, state, coalesce(activated_at, created_at) as since, verify_until from signing_keys order by created_at`,
    );
    for (const { kid, state, since, verify_until } of rows) {
      const until = verify_until ? `  verifies until ${verify_until.toISOString()}` : '';
      console.log(`${state.padEnd(9)}${kid}  since ${since.toISOString()}${until}`);
    }
    return 0;
  } finally {
    await dataSource.destroy();
  }
}

async function rotate(settings: UserSettings, now: boolean): Promise<number> {
  const dataSource = await openUserDatabase(settings);
  try {
    for (;;) {
      const rotation = await rotateKeys(dataSource, {
        masterKey: settings.MASTER_KEY,
        publishSeconds: now ? 0 : settings.KEY_PUBLISH_SECONDS,
        verifySeconds: settings.ACCESS_TOKEN_SECONDS + VERIFY_SLACK_SECONDS,
        dueAfterSeconds: 0,
      });
      if (rotation.kind === 'rotated') {
        console.log(
          `${rotation.current} signs from now on; ${rotation.previous} verifies until its tokens have expired`,
        );
        return 0;
      }
      if (rotation.kind === 'not-due') return 0;
      console.log(`the next key is new: waiting ${rotation.waitSeconds} s until every verifier knows it`);
      await delay(rotation.waitSeconds * 1000);
    }
  } finally {
    await dataSource.destroy();
  }
}
