import { existsSync } from 'node:fs';
import { ConfigurationError, readSettings } from '@sluice/config';
import { userSettings, type UserSettings } from '../settings.js';

/** Where `npm start` keeps what it generates, beside the folder the command runs in. */
const SECRETS = '.sluice/secrets';
const MAIL = '.sluice/mail';
const generated = { USER_DATABASE_URL: 'user-database-url', MASTER_KEY: 'master-key' };

/** The settings of the service that runs here: from the environment, and from what `npm start` generated where it says nothing. */
export function commandSettings(environment: NodeJS.ProcessEnv = process.env): UserSettings {
  const filled: NodeJS.ProcessEnv = { ...environment };
  for (const [name, file] of Object.entries(generated)) {
    const given = filled[name] || filled[`${name}_FILE`] || (name === 'USER_DATABASE_URL' && filled['DATABASE_URL']);
    if (!given && existsSync(`${SECRETS}/${file}`)) filled[`${name}_FILE`] = `${SECRETS}/${file}`;
  }
  // `npm start` has mails written there; a command only adds to what waits.
  if (!filled['SMTP_URL'] && !filled['SMTP_URL_FILE'] && !filled['MAIL_FOLDER'] && existsSync(MAIL))
    filled['MAIL_FOLDER'] = MAIL;
  return readSettings(userSettings(filled), filled);
}

/** Runs a command: exit code 0, 64 for a wrong call, 78 for a wrong configuration, 1 for a failure. */
export async function runCommand(
  usage: string,
  command: (settings: () => UserSettings) => Promise<number | undefined>,
) {
  try {
    const code = await command(commandSettings);
    if (code === undefined) console.error(usage);
    process.exitCode = code ?? 64;
  } catch (error) {
    const wrong = error instanceof ConfigurationError;
    console.error(wrong ? `The configuration is wrong:\n${error.message}` : `Failed: ${(error as Error).message}`);
    process.exitCode = wrong ? 78 : 1;
  }
}
