import { Metadata, type ServerUnaryCall } from '@grpc/grpc-js';
import { Inject, Injectable } from '@nestjs/common';
import type { userV1 } from '@sluice/contract';
import { Problem } from '@sluice/problem';
import { SETTINGS, type UserSettings } from '../settings.js';

/**
 * Sent only over HTTPS (or to localhost), only by pages of this site, and never seen by scripts. A name that begins with `__Host-` a
 * browser takes only from the host itself, over TLS and for all of it, so no other host of the domain can put a session of its own in
 * (RFC 6265bis section 4.1.3.2). Without TLS, as on localhost, the other name is used, and sent to the paths that read it.
 */
const HOST_COOKIE = { name: '__Host-sluice-refresh', attributes: 'Path=/; HttpOnly; Secure; SameSite=Strict' };
const PATH_COOKIE = {
  name: '__Secure-sluice-refresh',
  attributes: 'Path=/api/v1/auth; HttpOnly; Secure; SameSite=Strict',
};

export type TokenCall = ServerUnaryCall<unknown, unknown>;

/** The refresh token as a cookie, beside the form in JSON. */
@Injectable()
export class RefreshCookie {
  private readonly origins: ReadonlySet<string>;
  /** The one that is set, and the one that may be there from before and is taken as well. */
  private readonly current: typeof HOST_COOKIE;
  private readonly former: typeof HOST_COOKIE;

  constructor(@Inject(SETTINGS) private readonly settings: UserSettings) {
    const listed = settings.COOKIE_ORIGINS?.split(',').map((origin) => origin.trim()) ?? [];
    const own = URL.canParse(settings.TOKEN_ISSUER) ? [new URL(settings.TOKEN_ISSUER).origin] : [];
    this.origins = new Set([...own, ...listed]);
    const tls = settings.TOKEN_ISSUER.startsWith('https:');
    [this.current, this.former] = tls ? [HOST_COOKIE, PATH_COOKIE] : [PATH_COOKIE, HOST_COOKIE];
  }

  /**
   * The refresh token in the cookie of a request. A browser sends cookies by itself, so the page that caused the request
   * must be one of ours: `Origin` is there on every POST of a browser and no page can change it.
   *
   * @throws Problem ORIGIN_REFUSED for another origin or none, INVALID_GRANT without the cookie
   */
  read(metadata: Metadata | undefined): string {
    const cookies = (metadata?.get('cookie') ?? []).join('; ').split(/; */);
    const valuesOf = ({ name }: typeof HOST_COOKIE) =>
      cookies.filter((cookie) => cookie.startsWith(`${name}=`)).map((cookie) => cookie.slice(name.length + 1));
    const own = valuesOf(this.current);
    const values = own.length > 0 ? own : valuesOf(this.former);
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
    sendHeaders(call, [`${this.current.name}=${tokens.refresh_token}; Max-Age=${maxAge}; ${this.current.attributes}`]);
    return { ...tokens, refresh_token: '' };
  }

  /** Has the browser forget the cookie, in an answer that succeeds or fails. */
  clear(call: TokenCall | undefined): void {
    const cookies = [this.current, this.former].map(({ name, attributes }) => `${name}=; Max-Age=0; ${attributes}`);
    sendHeaders(call, cookies);
  }
}

/** No cache keeps an answer with tokens (RFC 6749 section 5.1). */
export function sendHeaders(call: TokenCall | undefined, cookies: readonly string[] = []): void {
  const metadata = new Metadata();
  metadata.set('cache-control', 'no-store');
  for (const cookie of cookies) metadata.add('set-cookie', cookie);
  call?.sendMetadata(metadata);
}
