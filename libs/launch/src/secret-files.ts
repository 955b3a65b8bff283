import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Generated secrets, a file each that only its owner can read. */
export interface SecretFiles {
  /** The path of the secret `name`; generated (32 random bytes, base64) when it is not there. */
  path(name: string): string;
  /** The secret `name` itself. */
  value(name: string): string;
  /** Stores a value that is known only now, and gives its path. */
  store(name: string, value: string): string;
}

export function openSecretFiles(folder: string): SecretFiles {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const store = (name: string, value: string) => {
    const file = join(folder, name);
    writeFileSync(file, `${value}\n`, { mode: 0o600 });
    return file;
  };
  const path = (name: string) => {
    const file = join(folder, name);
    return existsSync(file) ? file : store(name, randomBytes(32).toString('base64'));
  };
  return { path, store, value: (name) => readFileSync(path(name), 'utf8').trimEnd() };
}
