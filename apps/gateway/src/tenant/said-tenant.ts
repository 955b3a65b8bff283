import { Problem } from '@sluice/problem';
import type { GatewayConfig } from '../config/schema.js';
import { ByHost } from '../preflight/hosts.js';

/** A tenant that a request names before anybody has looked at a token, and where it does so. */
export interface SaidTenant {
  readonly name: string;
  /** For the client, such as `X-Tenant-ID` or `the host a.example.com`. */
  readonly by: string;
}

/** Where requests say their tenant. */
export interface TenantRules {
  /** The header field's name in lower case; undefined: none counts. */
  readonly header: string | undefined;
  /** Undefined: no host says one. */
  readonly hosts: ByHost<string> | undefined;
}

/** A tenant that a header field can name: ours have lower-case letters, digits and dashes; those of other issuers may have more. */
export const TENANT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
export const TENANT_EXPECTED = '1 to 63 letters, digits, dots, dashes and underscores';

export function tenantRules({ header, hosts }: GatewayConfig['tenants']): TenantRules {
  const entries = Object.entries(hosts);
  return {
    header: header === 'none' ? undefined : header,
    hosts: entries.length === 0 ? undefined : new ByHost(entries),
  };
}

/**
 * What the header field and the host say, which must be the same when both say something.
 *
 * @param value of the header field; undefined when there is none
 * @param hostname that was asked for, as names are compared
 * @throws Problem MALFORMED_REQUEST, TENANT_MISMATCH
 */
export function saidTenant(rules: TenantRules, value: string | undefined, hostname: string): SaidTenant | undefined {
  const named = rules.hosts?.get(hostname);
  const byHost = named === undefined ? undefined : { name: named, by: `the host ${hostname}` };
  if (value === undefined) return byHost;
  const by = headerName(rules.header!);
  if (!TENANT.test(value)) throw new Problem('MALFORMED_REQUEST', `${by}: expected a tenant of ${TENANT_EXPECTED}.`);
  const byHeader = { name: value, by };
  if (byHost && byHost.name !== value) throw mismatch(byHeader, byHost);
  return byHeader;
}

/** `x-tenant-id` as people write it: `X-Tenant-ID`. */
function headerName(lower: string): string {
  return lower.replace(/(^|-)(id$|[a-z])/g, (_, dash: string, text: string) => dash + text.toUpperCase());
}

/** Two tenants for one call: nobody chooses for the client. */
export function mismatch(one: SaidTenant, other: SaidTenant): Problem {
  const named = ({ name, by }: SaidTenant) => `${by} names the tenant ${JSON.stringify(shortened(name))}`;
  return new Problem('TENANT_MISMATCH', `${upperFirst(named(one))}, ${named(other)}. Send one of them.`, {
    details: { tenants: [shortened(one.name), shortened(other.name)] },
  });
}

const shortened = (name: string) => (name.length > 63 ? `${name.slice(0, 63)}…` : name);
const upperFirst = (text: string) => text[0]!.toUpperCase() + text.slice(1);
