/** What the lab asks of an administrator: tenants of its own. */
import { readFileSync } from 'node:fs';

export interface OperatorAccount {
  readonly email: string;
  readonly passwordFile: string;
}

/** The administrator that `npm start` makes, unless ADMIN_EMAIL and ADMIN_PASSWORD_FILE name another. */
export function operatorAccount(environment: Readonly<Record<string, string | undefined>>): OperatorAccount {
  return {
    email: environment['ADMIN_EMAIL'] || 'admin@sluice.local',
    passwordFile: environment['ADMIN_PASSWORD_FILE'] || '.sluice/secrets/admin-password',
  };
}

/** An administrator of the default tenant, signed in. */
export class Operator {
  private constructor(
    private readonly origin: string,
    private readonly token: string,
  ) {}

  /** @throws Error that says what to give instead, when there is no password or it is not the right one */
  static async signIn(origin: string, { email, passwordFile }: OperatorAccount): Promise<Operator> {
    let password: string;
    try {
      password = readFileSync(passwordFile, 'utf8').trim();
    } catch {
      throw new Error(`${passwordFile} cannot be read: set ADMIN_EMAIL and ADMIN_PASSWORD_FILE to an administrator's`);
    }
    const answer = await ask(origin, 'POST', '/api/v1/auth/login', { email, password });
    const { access_token: token } = answer.body;
    if (answer.status !== 200 || typeof token !== 'string') {
      throw new Error(`${email} cannot sign in at ${origin} (${answer.status} ${String(answer.body['code'])})`);
    }
    return new Operator(origin, token);
  }

  /** A tenant that takes registrations; one that is there stays as it is. */
  async createTenant(id: string, name: string): Promise<void> {
    const body = { id, name, open_registration: true };
    const answer = await ask(this.origin, 'POST', '/api/v1/admin/tenants', body, this.token);
    if (answer.status === 200 || answer.body['code'] === 'ALREADY_EXISTS') return;
    throw new Error(`the tenant ${id} cannot be made (${answer.status} ${String(answer.body['code'])})`);
  }

  /**
   * Bounds what a tenant may use in all, and its guests together in a day. An installation without budget accounts has no such bounds.
   *
   * @throws Error when the bound cannot be set
   */
  async limitTokens(tenant: string, tokens: number): Promise<void> {
    for (const [account, period] of [
      ['-', 'total'],
      ['guests', 'day'],
    ]) {
      const body = { tenant, unit: 'tokens', amount: String(tokens), period };
      const { status, body: told } = await ask(
        this.origin,
        'PUT',
        `/api/v1/accounts/${account}/limits`,
        body,
        this.token,
      );
      // Installations without an allocator, or whose guests are not counted.
      if (status === 404 || status === 501) continue;
      if (status !== 200) throw new Error(`${tenant} gets no budget of its own (${status} ${String(told['code'])})`);
    }
  }

  /** Removes the budget accounts of {@link limitTokens}, once nothing is reserved by them. @throws Error when they stay */
  async removeAccounts(tenant: string): Promise<void> {
    for (const account of ['guests', '-']) {
      const path = `/api/v1/accounts/${account}?tenant=${tenant}`;
      const { status, body } = await ask(this.origin, 'DELETE', path, undefined, this.token);
      if (status === 200 || status === 404 || status === 501) continue;
      throw new Error(
        `the budget account ${account} of ${tenant} cannot be removed (${status} ${String(body['code'])})`,
      );
    }
  }

  /**
   * Removes a tenant with its accounts, guests and sessions. The server asks for an export before, to its end; nobody needs it here.
   *
   * @throws Error when it is still there
   */
  async removeTenant(id: string): Promise<void> {
    const path = `/api/v1/admin/tenants/${id}`;
    const exported = await fetch(`${this.origin}${path}/export`, { headers: this.fields });
    for await (const part of exported.body ?? []) void part;
    const answer = await ask(this.origin, 'DELETE', path, undefined, this.token);
    if (answer.status !== 200) {
      throw new Error(`the tenant ${id} cannot be removed (${answer.status} ${String(answer.body['code'])})`);
    }
  }

  /** Tokens that are left on all nodes together; undefined when the installation has no budget. */
  async tokensLeft(): Promise<number | undefined> {
    const { status, body } = await ask(this.origin, 'GET', '/api/v1/metrics', undefined, this.token);
    return status === 200 ? Number(body['remaining']) : undefined;
  }

  /** The field that says who asks. */
  get fields(): Readonly<Record<'authorization', string>> {
    return { authorization: `Bearer ${this.token}` };
  }
}

interface Answered {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function ask(
  origin: string,
  method: string,
  path: string,
  body: object | undefined,
  token?: string,
): Promise<Answered> {
  const answer = await fetch(`${origin}${path}`, {
    method,
    headers: { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    ...(body && { body: JSON.stringify(body) }),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}
