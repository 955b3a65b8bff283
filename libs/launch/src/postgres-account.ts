import { spawnSync } from 'node:child_process';
import { chownSync, existsSync, readFileSync, statSync } from 'node:fs';

/** Who Postgres runs as. It refuses to run as root. */
export interface Account {
  uid: number;
  gid: number;
}

/**
 * Nothing when this process is not root: Postgres then runs as the same user. For root, the owner of an existing data folder,
 * else the account `postgres`, else `nobody`, which every system has; no account is created.
 */
export function postgresAccount(dataDir: string): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  if (existsSync(dataDir)) {
    const { uid, gid } = statSync(dataDir);
    if (uid !== 0) return { uid, gid };
  }
  const accounts = new Map(
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((line) => line.split(':'))
      .map(([name, , uid, gid]) => [name, { uid: Number(uid), gid: Number(gid) }]),
  );
  const account = accounts.get('postgres') ?? accounts.get('nobody');
  if (account === undefined) {
    throw new Error('Postgres does not run as root, and this machine has neither an account `postgres` nor `nobody`');
  }
  return account;
}

/** Whether `account` may enter `folder`: every folder above it must let it pass. */
export function canEnter(folder: string, account: Account): boolean {
  return spawnSync('/bin/sh', ['-c', 'cd -- "$1"', 'sh', folder], { cwd: '/', ...account }).status === 0;
}

export function give(folder: string, account: Account | undefined): void {
  if (account !== undefined) chownSync(folder, account.uid, account.gid);
}
