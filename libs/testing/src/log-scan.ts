import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Members of requests and answers that no log may show. */
const SECRET_MEMBERS =
  /^(?:password|email|username|device_id|client_secret|authorization|cookie|set-cookie|(?:\w+_)?token)$/;
/** Shorter texts are no secrets, and stand in logs by chance. */
const CHARACTERS_MIN = 6;

/** What is a secret wherever it comes from: tokens of both kinds, hashes of passwords, private keys. */
const SHAPES =
  /eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}|srt_[\w-]{70}|\$argon2id\$[^"\s]+|-----BEGIN [A-Z ]*PRIVATE KEY-----/;

const used = new Set<string>();

/** Remembers the secrets of a request or an answer: what {@link leaksIn} looks for from now on. */
export function noteSecrets(message: unknown): void {
  if (typeof message !== 'object' || message === null) return;
  for (const [name, value] of Object.entries(message)) {
    if (typeof value === 'object') noteSecrets(value);
    else if (typeof value === 'string' && SECRET_MEMBERS.test(name) && value.length >= CHARACTERS_MIN) used.add(value);
  }
}

/**
 * The lines of the logs in a folder that show a secret.
 *
 * @param further secrets beside those that were noted
 * @returns for each `file:line` and what it shows
 */
export function leaksIn(folder: string, further: readonly string[] = []): string[] {
  const leaks: string[] = [];
  for (const file of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    const path = join(file.parentPath, file.name);
    leaks.push(...leaksInText(readFileSync(path, 'utf8'), path, further));
  }
  return leaks;
}

/** The same of one log. */
export function leaksInText(text: string, name: string, further: readonly string[] = []): string[] {
  const shown = [...used, ...further].filter((secret) => text.includes(secret));
  return [...shown, ...(SHAPES.exec(text) ?? [])].map((secret) => {
    const line = text.slice(0, text.indexOf(secret)).split('\n').length;
    return `${name}:${line} shows ${secret.slice(0, 12)}…`;
  });
}
