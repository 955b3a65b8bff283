/** What a typed call becomes on the wire. */
export interface RouteRequest {
  readonly method: string;
  /** Under the base URL, with its query. */
  readonly path: string;
  /** JSON; undefined when the method has none. */
  readonly body: string | undefined;
}

/**
 * Fills a route such as `POST /allocations/{request_id}/settle` from a request: variables of the path first, what is left
 * goes to the body or, for GET and DELETE, to the query.
 *
 * @throws TypeError when a variable of the path has no value, or one that cannot be in a path
 */
export function fillRoute(route: string, request: object): RouteRequest {
  const space = route.indexOf(' ');
  const method = route.slice(0, space);
  const rest = new Map<string, unknown>(Object.entries(request).filter(([, value]) => value !== undefined));
  let path = route.slice(space + 1).replaceAll(/\{([^}]+)\}/g, (_, name: string) => {
    const value = rest.get(name);
    // An empty segment or one of dots would name another path.
    if (value === undefined || /^\.{0,2}$/.test(String(value))) throw new TypeError(`${route} needs ${name}`);
    rest.delete(name);
    return encodeURIComponent(String(value));
  });
  if (method !== 'GET' && method !== 'DELETE') return { method, path, body: JSON.stringify(Object.fromEntries(rest)) };
  const query: string[] = [];
  for (const [name, value] of rest) {
    for (const each of Array.isArray(value) ? value : [value]) {
      query.push(`${encodeURIComponent(name)}=${encodeURIComponent(String(each))}`);
    }
  }
  if (query.length > 0) path += `?${query.join('&')}`;
  return { method, path, body: undefined };
}
