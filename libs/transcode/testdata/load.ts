import { readFileSync } from 'node:fs';
import { RouteTable, compileBindings, loadSchema } from '../src/index.js';
import type { Binding, RouteOptions } from '../src/index.js';

export const schema = loadSchema(readFileSync(new URL('everything.binpb', import.meta.url)), 'everything.binpb');

/** The rules of the test schema in a table, and a way to call them as an HTTP request would. */
export function gateway(options: RouteOptions = {}) {
  const table = new RouteTable<undefined>();
  for (const binding of compileBindings(schema, options)) table.add(binding, undefined);
  const find = (request: string): { binding: Binding; variables: readonly string[]; query: string } => {
    const [method, target = ''] = request.split(' ');
    const [path = '', query = ''] = target.split('?');
    const match = table.match(method!, path);
    if (match.kind !== 'found') throw new Error(`${request}: ${match.kind}`);
    return { binding: match.binding, variables: match.variables, query };
  };
  return {
    table,
    find,
    /** @param request method and target: `POST /v1/books?x=1` */
    encode(request: string, body?: string | Uint8Array, contentType?: string): Uint8Array {
      const { binding, variables, query } = find(request);
      const bytes = typeof body === 'string' ? Buffer.from(body) : body;
      return binding.encodeRequest({ variables, query, contentType, body: bytes });
    },
  };
}
