import { isIP } from 'node:net';
import type { machinesV1 } from '@sluice/contract';
import { invalid } from '../accounts/credentials.js';

const ENTRIES_MAX = 50;
const METHOD = /^(\*|[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\.\*|\.[A-Za-z_]\w*))$/;
const METHOD_CHARACTERS_MAX = 200;
/** They travel as metadata, separated by commas. */
const MODEL = /^[\x21-\x2b\x2d-\x7e]{1,100}$/;
/** `scope-token` of RFC 6749 section 3.3. */
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]{1,100}$/;

/** @throws Problem INVALID_ARGUMENT naming the entry */
export function readRestrictions(
  given: machinesV1.ApiKeyRestrictions | undefined,
): Required<machinesV1.ApiKeyRestrictions> {
  const { methods = [], models = [], networks = [] } = given ?? {};
  const entries = (field: string, values: readonly string[], fits: (value: string) => boolean, expected: string) => {
    if (values.length > ENTRIES_MAX) throw invalid(field, `must have at most ${ENTRIES_MAX} entries`);
    const wrong = values.findIndex((value) => !fits(value));
    if (wrong >= 0) throw invalid(`${field}[${wrong}]`, expected);
    return [...new Set(values)];
  };
  return {
    methods: entries(
      'restrictions.methods',
      methods,
      (text) => text.length <= METHOD_CHARACTERS_MAX && METHOD.test(text),
      'must be package.Service.Method, or end in .* as package.Service.*',
    ),
    models: entries(
      'restrictions.models',
      models,
      (text) => MODEL.test(text),
      'must have 1 to 100 characters of ASCII without spaces and commas',
    ),
    networks: entries(
      'restrictions.networks',
      networks,
      isNetwork,
      'must be an address or a block such as 192.0.2.0/24 or 2001:db8::/32',
    ),
  };
}

/** Scopes of RFC 6749 section 3.3, each once. @throws Problem INVALID_ARGUMENT */
export function readScopes(given: readonly string[]): string[] {
  if (given.length > ENTRIES_MAX) throw invalid('scopes', `must have at most ${ENTRIES_MAX} entries`);
  const wrong = given.findIndex((scope) => !SCOPE.test(scope));
  if (wrong >= 0) {
    throw invalid(`scopes[${wrong}]`, 'must have 1 to 100 characters of ASCII without spaces, quotes and backslashes');
  }
  return [...new Set(given)].toSorted();
}

function isNetwork(text: string): boolean {
  const [address, prefix, ...rest] = text.split('/') as [string, string?, ...string[]];
  const family = address.includes('%') ? 0 : isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^(0|[1-9]\d{0,2})$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128));
}
