import { randomBytes } from 'node:crypto';
import { Operator, type OperatorAccount } from '../operator.js';
import { forwardedAddress, loopbackAddress } from './address-pool.js';
import { parse } from './outcome.js';
import type { LoadPlan } from './plan.js';
import { RequestHead } from './request.js';
import { expectedTokens } from './requirements.js';
import { type Tenant, UsageError } from './scenario.js';
import type { Answer, Transport } from './transport.js';

/** The tenant that was made for a run. */
export interface RunTenant {
  readonly id: string;
  /** Gives back the tokens that it holds and removes it with its guests. @throws Error when something of it stays */
  remove(): Promise<void>;
}

/** Of what a run is expected to use: its tenant may use so many times as much, and nothing that others have. */
const BUDGET_FACTOR = 2;
const FREED_TOGETHER = 16;
/** Of allocations: a page is shorter than what the transport keeps of an answer. */
const PAGE = 100;
/** One address stays below what the gateway allows it in a minute. */
const CALLS_PER_ADDRESS = 80;
/** Addresses that the load does not have begin here beyond its own. */
const BEYOND = 8;

/** @throws Error when the operator cannot sign in, or may not make tenants */
export async function makeRunTenant(
  origin: string,
  account: OperatorAccount,
  transport: Transport,
  plan: LoadPlan,
): Promise<RunTenant> {
  const id = `lab-${randomBytes(5).toString('hex')}`;
  const operator = await Operator.signIn(origin, account);
  await operator.createTenant(id, `A load run: ${plan.scenario.name}`);
  await operator.limitTokens(id, BUDGET_FACTOR * expectedTokens(plan));
  return {
    id,
    async remove() {
      // The token of a long run has expired.
      const again = await Operator.signIn(origin, account);
      await new TokenReturn(transport, plan, again).all(id);
      await again.removeAccounts(id);
      await again.removeTenant(id);
    },
  };
}

/** Gives back what the allocations of a tenant hold, so that a run takes nothing from the installation's budget for good. */
class TokenReturn {
  private calls = 0;

  constructor(
    private readonly transport: Transport,
    private readonly plan: LoadPlan,
    private readonly operator: Operator,
  ) {}

  async all(tenant: string): Promise<void> {
    for (const state of ['ALLOCATED', 'SETTLED']) {
      for (;;) {
        const query = `subject=-&tenant=${tenant}&state=${state}&page_size=${PAGE}`;
        const listed = await this.ask('GET', `/api/v1/allocations?${query}`);
        // An installation without an allocator holds no tokens.
        if (listed.status === 404 || listed.status === 501) return;
        const found = parse(listed.body)['allocations'];
        if (listed.status !== 200 || !Array.isArray(found)) {
          throw new Error(`the tokens of ${tenant} cannot be listed (${listed.status})`);
        }
        const ids = found.map((allocation: { request_id: string }) => allocation.request_id);
        if (ids.length === 0) break;
        for (let at = 0; at < ids.length; at += FREED_TOGETHER) {
          await Promise.all(ids.slice(at, at + FREED_TOGETHER).map((id) => this.free(tenant, id)));
        }
      }
    }
  }

  private async free(tenant: string, requestId: string): Promise<void> {
    const body = { tenant, reason: 'the load run has ended' };
    const path = `/api/v1/allocations/${encodeURIComponent(requestId)}/force_free`;
    const { status } = await this.ask('POST', path, body);
    if (status !== 200) throw new Error(`the tokens of ${requestId} in ${tenant} cannot be given back (${status})`);
  }

  private ask(method: 'GET' | 'POST', path: string, body?: object): Promise<Answer> {
    const index = this.plan.addressCount + BEYOND + Math.floor(this.calls++ / CALLS_PER_ADDRESS);
    const fields = `authorization: ${this.operator.fields.authorization}\r\n`;
    return callOnce(this.transport, this.plan, index, method, path, fields, body);
  }
}

/**
 * Asks for one guest in each tenant: a tenant that is not there, or that nobody may enter, fails a run before it has begun rather than
 * call by call.
 *
 * @throws UsageError naming the tenants
 */
export async function checkTenants(transport: Transport, plan: LoadPlan): Promise<void> {
  const missing: string[] = [];
  for (const tenant of plan.scenario.tenants) {
    const named = tenant.name === 'default' ? {} : { tenant: tenant.name };
    const body = { device_id: `lab-check-${randomBytes(6).toString('hex')}`, cause: 'no_token', ...named };
    const fields = fieldsOf(tenant);
    const answer = await callOnce(transport, plan, plan.addressCount + 1, 'POST', '/api/v1/auth/guest', fields, body);
    const { details } = parse(answer.body) as { details?: { field?: string } };
    if (answer.status === 400 && details?.field === 'tenant') missing.push(tenant.name);
  }
  if (missing.length === 0) return;
  throw new UsageError(
    `--tenants ${missing.join(',')}: no such tenant takes registrations here. An operator makes one: ` +
      `POST /api/v1/admin/tenants {"id":"${missing[0]}","name":"${missing[0]}","open_registration":true}; without --tenants a run makes its own.`,
  );
}

function fieldsOf({ headers }: Tenant): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
}

function callOnce(
  transport: Transport,
  plan: LoadPlan,
  index: number,
  method: 'GET' | 'POST',
  path: string,
  fields: string,
  body?: object,
): Promise<Answer> {
  const addressOf = plan.addressMode === 'forwarded' ? forwardedAddress : loopbackAddress;
  const from = { index, address: addressOf(index), heldUntilMs: 0, refusalsInARow: 0 };
  const request = {
    head: new RequestHead(method, path),
    keep: 'all',
    ...(body && { body: JSON.stringify(body) }),
  } as const;
  return new Promise((resolve) => transport.send(from, request, fields, resolve));
}
