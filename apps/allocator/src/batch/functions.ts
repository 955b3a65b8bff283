import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { takeLock } from '@sluice/storage';
import type { DataSource } from 'typeorm';

/** A function of the schema as its file says it. */
export interface SqlFunction {
  readonly name: string;
  /** From the file's first line, `-- version 3`; a changed text has a higher one. */
  readonly version: number;
  readonly hash: string;
  readonly text: string;
}

/** What became of a function at a start. */
export type Installed = 'installed' | 'kept' | 'newer is there';

/** One at a time installs, so that the newest text stays whatever replicas start together. */
const FUNCTIONS_LOCK = 'functions';

/** The files of `sql/`, in the order in which they are installed. */
const FILES = ['accounts', 'apply-operations', 'apply-batch'];

/** @throws Error for a file whose first line has no version */
export function readSqlFunction(file: string): SqlFunction {
  const text = readFileSync(new URL(`../../sql/${file}.sql`, import.meta.url), 'utf8');
  const version = /^-- version (\d+)\n/.exec(text)?.[1];
  if (version === undefined) throw new Error(`sql/${file}.sql: expected "-- version N" in the first line`);
  return {
    name: file.replaceAll('-', '_'),
    version: Number(version),
    hash: createHash('sha256').update(text).digest('hex'),
    text,
  };
}

export const sqlFunctions = (): SqlFunction[] => FILES.map(readSqlFunction);

/**
 * Brings the functions of the schema in line with their files: each that differs is replaced, in one transaction. A newer one stays:
 * while replicas of two releases run, or after a release was taken back, the older never undoes the newer.
 *
 * Replacing waits for nobody: calls that run go on with the text that they began with.
 */
export function installFunctions(
  dataSource: DataSource,
  functions: readonly SqlFunction[] = sqlFunctions(),
): Promise<Map<string, Installed>> {
  return dataSource.transaction(async (manager) => {
    await takeLock(manager, FUNCTIONS_LOCK);
    const there = await manager.query<{ name: string; version: number; hash: string }[]>(
      'select name, version, hash from functions',
    );
    const results = new Map<string, Installed>();
    for (const { name, version, hash, text } of functions) {
      const before = there.find((one) => one.name === name);
      const result = before === undefined ? 'installed' : compare(before, { version, hash });
      results.set(name, result);
      if (result !== 'installed') continue;
      await manager.query(text);
      await manager.query(
        `insert into functions (name, version, hash) values ($1, $2, $3)
           on conflict (name) do update set version = excluded.version, hash = excluded.hash, installed_at = clock_timestamp()`,
        [name, version, hash],
      );
    }
    return results;
  });
}

type Text = Pick<SqlFunction, 'version' | 'hash'>;

function compare(before: Text, now: Text): Installed {
  if (before.version > now.version) return 'newer is there';
  return before.hash === now.hash ? 'kept' : 'installed';
}
