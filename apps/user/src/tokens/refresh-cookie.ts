import { Metadata, type ServerUnaryCall } from '@grpc/grpc-js';
import { Inject, Injectable } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import { SETTINGS, type UserSettings } from '../settings.js';

/** Sent only over HTTPS (or to localhost), only by pages of this site, only to these paths, and never seen by scripts. */
const NAME = '__Secure-sluice-refresh';
const ATTRIBUTES = 'Path=/api/v1/auth; HttpOnly; Secure; SameSite=Strict';

export type TokenCall = ServerUnaryCall<unknown, unknown>;

/** The refresh token as a cookie, beside the form in JSON. */
@Injectable()
export class RefreshCookie {
  private readonly origins: ReadonlySet<string>;

  constructor(@Inject(SETTINGS) private readonly settings: UserSettings) {
    const listed = settings.COOKIE_ORIGINS?.split(',').map((origin) => origin.trim()) ?? [];
    const own = URL.canParse(settings.TOKEN_ISSUER) ? [new URL(settings.TOKEN_ISSUER).origin] : [];
    this.origins = new Set([...own, ...listed]);
  }

  /**
   * The refresh token in the cookie of a request. A browser sends cookies by itself, so the page that caused the request
   * must be one of ours: `Origin` is there on every POST of a browser and no page can change it.
   *
   * @throws Problem ORIGIN_REFUSED for another origin or none, INVALID_GRANT without the cookie
   */
  read(metadata: Metadata | undefined): string {
    const cookies = (metadata?.get('cookie') ?? []).join('; ').split(/; */);
    const values = cookies
      .filter((cookie) => cookie.startsWith(`${NAME}=`))
      .map((cookie) => cookie.slice(NAME.length + 1));
    if (values.length === 0) throw new Problem('INVALID_GRANT', 'Send a refresh token.');
    this.checkOrigin(metadata);
    if (values.length > 1) throw new Problem('INVALID_GRANT', 'There is more than one refresh cookie.');
    return values[0] as string;
  }

  /** @throws Problem ORIGIN_REFUSED */
  checkOrigin(metadata: Metadata | undefined): void {
    const origins = metadata?.get('origin') ?? [];
    if (origins.length === 1 && this.origins.has(String(origins[0]))) return;
    throw new Problem('ORIGIN_REFUSED', 'Pages of this origin may not use the refresh cookie.');
  }

  /** The answer with the refresh token moved into a cookie. */
  move(call: TokenCall | undefined, tokens: userV1.TokenResponse): userV1.TokenResponse {
    const maxAge = this.settings.SESSION_IDLE_SECONDS;
    sendHeaders(call, `${NAME}=${tokens.refresh_token}; Max-Age=${maxAge}; ${ATTRIBUTES}`);
    return { ...tokens, refresh_token: '' };
  }

  clear(call: TokenCall | undefined): void {
    sendHeaders(call, `${NAME}=; Max-Age=0; ${ATTRIBUTES}`);
  }
}

/** No cache keeps an answer with tokens (RFC 6749 section 5.1). */
export function sendHeaders(call: TokenCall | undefined, cookie?: string): void {
  const metadata = new Metadata();
  metadata.set('cache-control', 'no-store');
  if (cookie !== undefined) metadata.set('set-cookie', cookie);
  call?.sendMetadata(metadata);
}
