import type { MigrationInterface, QueryRunner } from 'typeorm';
import { readEmail } from '../accounts/email.js';

interface Account {
  readonly id: string;
  readonly tenant: string;
  readonly email: string;
  readonly email_key: string;
}

/**
 * Addresses that look alike are compared as one from now on; those of ASCII letters alone are compared as before. Of accounts that turn
 * out to be alike the oldest gets the address; the others keep their former key, which no login finds any more.
 */
export class CanonicalAddresses1764000000008 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    const accounts: Account[] = await runner.query(
      `select id, tenant, email, email_key from users where email ~ '[^\\x21-\\x7e]' or email ~* 'xn--' order by created_at, id`,
    );
    for (const { id, tenant, email, email_key } of accounts) {
      const key = keyOf(email);
      if (key === undefined || key === email_key) continue;
      await runner.query(
        `update users set email_key = $3 where id = $1 and not exists (
           select from users other where other.tenant = $2 and other.email_key = $3)`,
        [id, tenant, key],
      );
    }
  }

  /** By the former rule: NFC and lower case. */
  async down(runner: QueryRunner): Promise<void> {
    await runner.query(
      `update users set email_key = lower(normalize(email, nfc)) where email ~ '[^\\x21-\\x7e]' or email ~* 'xn--'`,
    );
  }
}

function keyOf(email: string): string | undefined {
  try {
    return readEmail(email).key;
  } catch {
    return undefined;
  }
}
