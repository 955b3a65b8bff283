import { Inject, Injectable } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { createVerifier, type TokenVerifier } from '@sluice/identity';
import { Problem } from '@sluice/problem';
import type { Call, Caller } from '@sluice/service';
import { toJwk } from '../keys/key.controller.js';
import { Keys } from '../keys/keys.js';
import { parseRefreshToken } from '../sessions/refresh-token.js';
import { Sessions } from '../sessions/sessions.js';
import { SETTINGS, type UserSettings } from '../settings.js';

const INACTIVE: userV1.IntrospectResponse = { active: false, roles: undefined };

/** Tokens that are shown to be ended (RFC 7009) or asked about (RFC 7662). */
@Injectable()
export class ShownTokens {
  private readonly verifier: TokenVerifier;

  constructor(
    private readonly keys: Keys,
    private readonly sessions: Sessions,
    @Inject(SETTINGS) settings: UserSettings,
  ) {
    this.verifier = createVerifier({
      issuer: settings.TOKEN_ISSUER,
      audience: settings.TOKEN_AUDIENCE,
      typ: 'at+jwt',
      keys: async () => ({ keys: keys.current.published.map((key) => ({ ...toJwk(key) })) }),
      keyCoolDownMs: 100,
      keyMaxAgeMs: 1000,
      cacheSize: 1000,
    });
  }

  /** Ends the session of an access token or refresh token. Text that is neither is no error. */
  async revoke(call: Call, token: string): Promise<void> {
    const sessionId =
      parseRefreshToken(this.keys.current.refreshSecret, token)?.sessionId ?? (await this.verify(token))?.session;
    if (sessionId !== undefined && sessionId !== '') await this.sessions.revokeShown(call, sessionId);
  }

  /** What is known about a token of the asker's tenant. The token of another tenant is not active to the asker. */
  async introspect(call: Call, asker: Caller, token: string): Promise<userV1.IntrospectResponse> {
    const refresh = parseRefreshToken(this.keys.current.refreshSecret, token);
    const verified = refresh ? undefined : await this.verify(token);
    const sessionId = refresh?.sessionId ?? verified?.session;
    if (sessionId === undefined || sessionId === '') return INACTIVE;
    const standing = await this.sessions.find(call, sessionId);
    if (!standing?.alive) return INACTIVE;
    if (standing.tenant !== asker.tenant && !asker.roles.includes('gateway')) return INACTIVE;
    const roles = listOf(standing.roles);
    const common = { active: true, sub: standing.user_id, sid: sessionId, tid: standing.tenant, roles };
    if (refresh) return refresh.generation === standing.generation ? { ...common, client_id: 'sluice' } : INACTIVE;
    const { iss, aud, iat, exp, jti, client_id, scope } = payloadOf(token);
    return { ...common, iss, aud, iat, exp, jti, client_id, scope, token_type: 'Bearer' };
  }

  private async verify(token: string) {
    try {
      return await this.verifier.verify(token);
    } catch (error) {
      if (error instanceof Problem && error.status < 500) return undefined;
      throw error;
    }
  }
}

/** As proto-loader writes a google.protobuf.ListValue, for which the generated type says an array. */
function listOf(texts: readonly string[]): unknown[] {
  return { values: texts.map((text) => ({ stringValue: text })) } as unknown as unknown[];
}

/** The claims of a token of our own whose signature has been checked. */
function payloadOf(token: string) {
  return JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString()) as {
    iss: string;
    aud: string;
    iat: number;
    exp: number;
    jti: string;
    client_id: string;
    scope: string;
  };
}
