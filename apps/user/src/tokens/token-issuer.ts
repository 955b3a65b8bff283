import { Inject, Injectable } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { Keys } from '../keys/keys.js';
import { formatRefreshToken } from '../sessions/refresh-token.js';
import type { SessionOwner } from '../sessions/session-store.js';
import { guestTerms } from '../guests/guest-limits.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import { type AccessToken, type AccessTokenClaims, signAccessToken } from './access-token.js';

/** The OAuth client of people, which is public: whoever uses it cannot be told from another. */
export const CLIENT = 'sluice';

/** Makes the tokens of a session as it stands in the database. */
@Injectable()
export class TokenIssuer {
  constructor(
    private readonly keys: Keys,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  tokensOf(owner: SessionOwner): userV1.TokenResponse {
    const claims: AccessTokenClaims = {
      iss: this.settings.TOKEN_ISSUER,
      aud: this.settings.TOKEN_AUDIENCE,
      sub: owner.user_id,
      client_id: CLIENT,
      sid: owner.session_id,
      tid: owner.tenant,
      roles: owner.roles,
      scope: '',
      ...(owner.guest && { guest: true }),
      ...(this.settings.EMAIL_VERIFICATION !== 'none' && !owner.guest && { email_verified: owner.email_verified }),
    };
    const left = Math.max(0, Math.floor(owner.tokens_left_seconds));
    const access = signAccessToken(this.keys.current.current, claims, {
      seconds: Math.min(this.settings.ACCESS_TOKEN_SECONDS, left),
      jitterPercent: this.settings.ACCESS_TOKEN_JITTER_PERCENT,
      notAfterMs: owner.absolute_until.getTime(),
    });
    return {
      access_token: access.text,
      refresh_token: this.refreshTokenOf(owner.session_id, owner.generation),
      token_type: 'Bearer',
      expires_in: access.expiresInSeconds,
      session_id: owner.session_id,
      guest: owner.guest,
      guest_terms: owner.guest ? guestTerms(this.settings) : undefined,
    };
  }

  /** An access token of a service account, which has no session and nothing to refresh it with. */
  accessToken(claims: Omit<AccessTokenClaims, 'iss'>, seconds: number): AccessToken {
    return signAccessToken(
      this.keys.current.current,
      { iss: this.settings.TOKEN_ISSUER, ...claims },
      { seconds, jitterPercent: this.settings.ACCESS_TOKEN_JITTER_PERCENT, notAfterMs: Infinity },
    );
  }

  /** Whether verifiers take a token of ours as far as its key, issuer and audience go; it may have expired or been revoked. */
  vouchesFor(token: string): boolean {
    const [header, claims] = token
      .split('.', 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString())) as [{ kid: string }, AccessTokenClaims];
    const { TOKEN_ISSUER, TOKEN_AUDIENCE } = this.settings;
    const published = this.keys.current.published.some(({ kid }) => kid === header.kid);
    return published && claims.iss === TOKEN_ISSUER && claims.aud === TOKEN_AUDIENCE;
  }

  refreshTokenOf(sessionId: string, generation: number): string {
    return formatRefreshToken(this.keys.current.refreshSecret, { sessionId, generation });
  }
}
