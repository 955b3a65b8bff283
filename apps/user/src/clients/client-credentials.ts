import { Inject, Injectable } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import type { Call } from '@sluice/service';
import { DataSource } from 'typeorm';
import { meantTenant, tenantMismatch } from '../accounts/meant-tenant.js';
import { AuditLog } from '../audit/audit-log.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import { TokenIssuer } from '../tokens/token-issuer.js';
import { serviceSid } from './clients.js';
import { type ClientRow, serviceAccountStore } from './service-account-store.js';

/** The grant `client_credentials` (RFC 6749 section 4.4): a short-lived access token, and nothing to refresh it with. */
@Injectable()
export class ClientCredentialsGrant {
  constructor(
    private readonly dataSource: DataSource,
    private readonly issuer: TokenIssuer,
    private readonly audit: AuditLog,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  /** @throws Problem TENANT_MISMATCH for a client of another tenant than is meant, INVALID_ARGUMENT with `invalid_scope` or `invalid_target` for what was not granted */
  async grant(call: Call, client: ClientRow, request: userV1.TokenRequest): Promise<userV1.TokenResponse> {
    const meant = meantTenant(call, request.tenant);
    if (meant !== '' && meant !== client.tenant) throw tenantMismatch('The client', client.tenant, meant);
    const scope = scopeOf(client, request.scope);
    const audience = audienceOf(client, request);
    const access = this.issuer.accessToken(
      {
        sub: client.id,
        client_id: client.id,
        sid: serviceSid(client),
        tid: client.tenant,
        roles: client.roles,
        scope,
        aud: audience,
      },
      this.settings.SERVICE_TOKEN_SECONDS,
    );
    await serviceAccountStore.markUsed(this.dataSource, call, client.id);
    const event = { tenant: client.tenant, action: 'client.token', outcome: 'success', subject: client.id } as const;
    await this.audit.record(call, event);
    return {
      access_token: access.text,
      token_type: 'Bearer',
      expires_in: access.expiresInSeconds,
      guest: false,
      guest_terms: undefined,
      scope,
    };
  }
}

/** What was asked for, in its order, or all that was granted. */
function scopeOf({ scopes }: ClientRow, asked: string): string {
  const wanted = [...new Set(asked.split(' ').filter(Boolean))];
  const beyond = wanted.find((scope) => !scopes.includes(scope));
  if (beyond !== undefined) {
    throw new Problem('INVALID_ARGUMENT', 'The client was not granted a scope that it asks for.', {
      details: { field: 'scope', oauth_error: 'invalid_scope' },
    });
  }
  return (wanted.length > 0 ? wanted : scopes).join(' ');
}

function audienceOf({ audiences }: ClientRow, { resource, audience }: userV1.TokenRequest): string {
  const asked = [resource, audience].filter(Boolean);
  if (asked.length === 0) return audiences[0]!;
  if (new Set(asked).size === 1 && audiences.includes(asked[0]!)) return asked[0]!;
  // RFC 8707 section 2.
  throw new Problem('INVALID_ARGUMENT', 'The client was not granted the audience that it asks for.', {
    details: { field: resource === '' ? 'audience' : 'resource', oauth_error: 'invalid_target' },
  });
}
