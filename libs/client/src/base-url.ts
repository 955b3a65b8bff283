/** Where the API begins: `text` ends with a slash. */
export interface BaseUrl {
  readonly origin: string;
  readonly text: string;
}

/** Scheme, authority and the rest (RFC 3986 section 3). Backslashes end an authority, too: URL takes them for slashes. */
const ABSOLUTE = /^([a-z][a-z0-9+.-]*):\/\/([^/?#\\]*)(.*)$/is;

/** @throws TypeError for what is no address; a relative one needs a page, and a platform with URL */
export function baseUrlOf(given: string | URL, page: string | undefined): BaseUrl {
  const text = typeof URL === 'function' ? new URL(given, page).href : String(given);
  const [, , , rest = ''] = ABSOLUTE.exec(text) ?? [];
  const origin = originOf(text);
  if (origin === undefined || /[?#]/.test(rest)) {
    throw new TypeError(`baseUrl ${text}: expected where the API begins, for example https://sluice.example/api/v1`);
  }
  return { origin, text: `${origin}${rest.replace(/\/$/, '')}/` };
}

/**
 * A path below the base URL. `/me` means below it, as `me` does; a colon in it is no scheme.
 *
 * @throws TypeError for another origin: the session's token goes nowhere else
 */
export function urlBelow(base: BaseUrl, path: string | URL): string {
  const text = String(path);
  const origin = originOf(text);
  if (origin === undefined) return base.text + text.replace(/^\//, '');
  if (origin !== base.origin) throw new TypeError(`${origin} is not where this client's API is`);
  return text;
}

function originOf(text: string): string | undefined {
  const [, scheme, authority] = ABSOLUTE.exec(text) ?? [];
  if (scheme === undefined || authority === undefined) return undefined;
  const usual = scheme.toLowerCase() === 'https' ? /:443$/ : /:80$/;
  return `${scheme.toLowerCase()}://${authority.toLowerCase().replace(usual, '').replace(/:$/, '')}`;
}
