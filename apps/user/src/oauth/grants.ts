import { Inject, Injectable } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import type { Call } from '@sluice/service';
import { Accounts } from '../accounts/accounts.js';
import { readText } from '../accounts/credentials.js';
import { meantTenant } from '../accounts/meant-tenant.js';
import { ClientCredentialsGrant } from '../clients/client-credentials.js';
import type { ClientRow } from '../clients/service-account-store.js';
import { Guests } from '../guests/guests.js';
import { Sessions } from '../sessions/sessions.js';
import { SETTINGS, type UserSettings } from '../settings.js';

/** Those that are on. */
export function grantsOf({ OAUTH_PASSWORD_GRANT: byPassword }: Pick<UserSettings, 'OAUTH_PASSWORD_GRANT'>): string[] {
  return [...(byPassword ? ['password'] : []), 'refresh_token', 'client_credentials', 'guest'];
}

/** The grants of `/oauth/token`. */
@Injectable()
export class Grants {
  constructor(
    private readonly accounts: Accounts,
    private readonly sessions: Sessions,
    private readonly guests: Guests,
    private readonly clientCredentials: ClientCredentialsGrant,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  /**
   * @param client the service account that has shown itself; undefined: the public client
   * @throws Problem; `details.oauth_error` names the error of RFC 6749 section 5.2 where the code does not
   */
  async grant(call: Call, client: ClientRow | undefined, request: userV1.TokenRequest): Promise<userV1.TokenResponse> {
    const { grant_type: grantType } = request;
    if (grantType === '') throw missing('grant_type');
    const grants = grantsOf(this.settings);
    if (!grants.includes(grantType)) throw unsupported(grantType, grants);
    if (grantType === 'client_credentials') {
      if (client) return this.clientCredentials.grant(call, client, request);
      throw new Problem(
        'UNAUTHENTICATED',
        'This grant is for service accounts: show client_id and client_secret, or a client_assertion.',
        {
          details: { oauth_error: 'invalid_client' },
        },
      );
    }
    if (client) {
      throw new Problem('INVALID_ARGUMENT', 'A service account gets tokens by the grant client_credentials alone.', {
        details: { field: 'grant_type', oauth_error: 'unauthorized_client' },
      });
    }
    if (request.scope !== '') {
      throw new Problem('INVALID_ARGUMENT', 'Users have no scopes; leave scope out.', {
        details: { field: 'scope', oauth_error: 'invalid_scope' },
      });
    }
    if (grantType === 'password') return this.password(call, request);
    if (grantType === 'guest') return this.guests.create(call, request);
    if (request.refresh_token === '') throw missing('refresh_token');
    return this.sessions.rotate(call, request.refresh_token, meantTenant(call, request.tenant));
  }

  /** RFC 6749 section 4.3. */
  private async password(call: Call, request: userV1.TokenRequest): Promise<userV1.TokenResponse> {
    if (request.username === '') throw missing('username');
    if (request.password === '') throw missing('password');
    const device = readText(request.device, 'device', 200);
    const credentials = { email: request.username, password: request.password, tenant: request.tenant };
    const user = await this.accounts.authenticate(call, credentials).catch((error: unknown) => {
      // A name that is no address is nobody's (RFC 6749 section 5.2 has one error for all wrong credentials).
      if (!(error instanceof Problem) || error.details['field'] !== 'email') throw error;
      throw this.accounts.wrongCredentials();
    });
    return this.sessions.open(call, user, device);
  }
}

function unsupported(grantType: string, grants: readonly string[]): Problem {
  const detail =
    grantType === 'password'
      ? 'The grant password is off (RFC 9700 section 2.4). Sign in at POST /api/v1/auth/login; OAUTH_PASSWORD_GRANT=true turns it on.'
      : `grant_type must be one of ${grants.join(', ')}.`;
  return new Problem('INVALID_ARGUMENT', detail, {
    details: { field: 'grant_type', oauth_error: 'unsupported_grant_type' },
  });
}

/** `invalid_request` of RFC 6749 section 5.2. */
export function missing(field: string): Problem {
  return new Problem('INVALID_ARGUMENT', `${field} is missing.`, { details: { field } });
}
