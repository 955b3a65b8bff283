import type { EndedCall } from './caller.js';
import { weighted } from './random.js';
import type { Tenant } from './scenario.js';

/** A simulated user on a device of its own. */
export interface User {
  /** The device, and the local part of the e-mail address. */
  readonly name: string;
  readonly password: string;
  registered: boolean;
  readonly tenant: Tenant;
  /** Lines of the header fields that go along with each call: the tenant's, and the token as soon as there is one. */
  readonly tenantFields: string;
  fields: string;
  /** Empty before the first token. */
  accessToken: string;
  refreshToken: string;
  /** In milliseconds since the start of the run. */
  expiresAtMs: number;
  heldUntilMs: number;
  refusalsInARow: number;
  /** A token that is being fetched. */
  acquiring: Promise<EndedCall> | undefined;
}

/** The users of a run, each made when it is first needed. */
export class Users {
  private readonly users = new Map<number, User>();
  private readonly tenantOf: (random: number) => Tenant;

  /** @param run tells the devices of this run from those of others */
  constructor(
    private readonly run: string,
    tenants: readonly Tenant[],
    private readonly random: () => number,
  ) {
    this.tenantOf = weighted(tenants.map((tenant) => ({ item: tenant, weight: tenant.weight })));
  }

  get(index: number): User {
    let user = this.users.get(index);
    if (!user) {
      const tenant = this.tenantOf(this.random());
      const tenantFields = Object.entries(tenant.headers)
        .map(([name, value]) => `${name}: ${value}\r\n`)
        .join('');
      user = {
        name: `lab-${this.run}-${index}`,
        password: `${this.run}-${index}-password`,
        registered: false,
        tenant,
        tenantFields,
        fields: tenantFields,
        accessToken: '',
        refreshToken: '',
        expiresAtMs: Number.POSITIVE_INFINITY,
        heldUntilMs: 0,
        refusalsInARow: 0,
        acquiring: undefined,
      };
      this.users.set(index, user);
    }
    return user;
  }
}
