import { Injectable } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import type { Call } from '@sluice/service';
import { Accounts } from '../accounts/accounts.js';
import { readText } from '../accounts/credentials.js';
import { meantTenant } from '../accounts/meant-tenant.js';
import { Guests } from '../guests/guests.js';
import { Sessions } from '../sessions/sessions.js';

export const GRANTS = ['password', 'refresh_token', 'guest'] as const;

/** The grants of `/oauth/token`. */
@Injectable()
export class Grants {
  constructor(
    private readonly accounts: Accounts,
    private readonly sessions: Sessions,
    private readonly guests: Guests,
  ) {}

  /** @throws Problem; `details.oauth_error` names the error of RFC 6749 section 5.2 where the code does not */
  async grant(call: Call, request: userV1.TokenRequest): Promise<userV1.TokenResponse> {
    if (request.scope !== '') {
      throw new Problem('INVALID_ARGUMENT', 'This server knows no scopes; leave scope out.', {
        details: { field: 'scope', oauth_error: 'invalid_scope' },
      });
    }
    switch (request.grant_type) {
      case 'password':
        return this.password(call, request);
      case 'refresh_token':
        if (request.refresh_token === '') throw missing('refresh_token');
        return this.sessions.rotate(call, request.refresh_token, meantTenant(call, request.tenant));
      case 'guest':
        return this.guests.create(call, request);
      case '':
        throw missing('grant_type');
      default:
        throw new Problem('INVALID_ARGUMENT', `grant_type must be one of ${GRANTS.join(', ')}.`, {
          details: { field: 'grant_type', oauth_error: 'unsupported_grant_type' },
        });
    }
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

/** `invalid_request` of RFC 6749 section 5.2. */
export function missing(field: string): Problem {
  return new Problem('INVALID_ARGUMENT', `${field} is missing.`, { details: { field } });
}
