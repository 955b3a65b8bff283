import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import type { Call, Caller } from '@sluice/service';
import { DataSource } from 'typeorm';
import { Keys } from '../keys/keys.js';
import { SETTINGS, type UserSettings } from '../settings.js';
import { type AccessTokenClaims, signAccessToken } from '../tokens/access-token.js';
import { formatRefreshToken, parseRefreshToken } from './refresh-token.js';
import { type SessionOwner, sessionStore } from './session-store.js';

/** The OAuth client that the JSON methods act for. */
const FIRST_PARTY = 'sluice';

/** Opens, rotates and ends sessions (design §9). */
@Injectable()
export class Sessions {
  constructor(
    private readonly dataSource: DataSource,
    private readonly keys: Keys,
    @Inject(SETTINGS) private readonly settings: UserSettings,
  ) {}

  /** @throws Problem PERMISSION_DENIED when the account is locked */
  async open(call: Call, userId: string, device: string): Promise<userV1.TokenResponse> {
    const session = { id: randomUUID(), userId, device, address: call.clientAddress };
    const owner = await sessionStore.insert(this.dataSource, call, session, {
      idle: this.settings.SESSION_IDLE_SECONDS,
      absolute: this.settings.SESSION_ABSOLUTE_SECONDS,
    });
    if (!owner) throw new Problem('PERMISSION_DENIED', 'The account is locked.');
    return this.tokensOf(owner);
  }

  /**
   * Exchanges a refresh token for its successor.
   *
   * Whoever presents the previous generation within the grace gets the successor that exists already; the grace is
   * counted from the rotation by the database's clock, so it does not slide. Anything older, or later, is a stolen or
   * copied token: the session ends.
   *
   * @throws Problem INVALID_GRANT
   */
  async rotate(call: Call, text: string): Promise<userV1.TokenResponse> {
    const token = parseRefreshToken(this.keys.current.refreshSecret, text);
    if (!token) throw new Problem('INVALID_GRANT', 'The refresh token is not one of this service.');
    const { sessionId, generation } = token;
    const { SESSION_IDLE_SECONDS, REFRESH_GRACE_SECONDS } = this.settings;
    const rotated = await sessionStore.rotate(this.dataSource, call, sessionId, generation, SESSION_IDLE_SECONDS);
    if (rotated) return this.tokensOf(rotated);

    const standing = await sessionStore.find(this.dataSource, call, sessionId, REFRESH_GRACE_SECONDS);
    if (!standing?.alive || standing.generation <= generation) {
      throw new Problem('INVALID_GRANT', 'The session has ended.');
    }
    if (standing.generation === generation + 1 && standing.within_grace) return this.tokensOf(standing);
    await sessionStore.revoke(this.dataSource, call, sessionId, 'refresh-reuse');
    throw new Problem('INVALID_GRANT', 'The refresh token was used before; the session has ended.');
  }

  async end(call: Call, caller: Caller, everywhere: boolean): Promise<void> {
    if (everywhere) {
      await sessionStore.revokeAll(this.dataSource, call, caller.subject, caller.tenant, 'logout-everywhere');
    } else {
      await sessionStore.revoke(this.dataSource, call, caller.session, 'logout');
    }
  }

  private tokensOf(owner: SessionOwner): userV1.TokenResponse {
    const { current, refreshSecret } = this.keys.current;
    const claims: AccessTokenClaims = {
      iss: this.settings.TOKEN_ISSUER,
      aud: this.settings.TOKEN_AUDIENCE,
      sub: owner.user_id,
      client_id: FIRST_PARTY,
      sid: owner.session_id,
      tid: owner.tenant,
      roles: owner.roles,
      scope: '',
      ...(owner.guest && { guest: true }),
    };
    const access = signAccessToken(current, claims, this.settings.ACCESS_TOKEN_SECONDS, owner.absolute_until.getTime());
    return {
      access_token: access.text,
      refresh_token: formatRefreshToken(refreshSecret, {
        sessionId: owner.session_id,
        generation: owner.generation,
      }),
      token_type: 'Bearer',
      expires_in: access.expiresInSeconds,
      session_id: owner.session_id,
    };
  }
}
