import { faultAt, type FileFault, nearestName } from '@sluice/config';
import type { MethodInfo } from '@sluice/transcode';
import { selectorRank } from '../../route/access.js';
import type { LoadedUpstream } from '../loaded.js';
import type { UpstreamConfig } from '../schema.js';
import type { Subject } from './check.js';

type Path = (string | number)[];

/** Selectors of one list or map, each with where it stands. */
type Selectors = Iterable<readonly [Path, string]>;

const fromKeys = (key: string, map: object): Selectors =>
  Object.keys(map).map((selector) => [[key, selector], selector]);
const fromList = (key: string, list: readonly string[]): Selectors =>
  list.map((selector, index) => [[key, index], selector]);

/** Every setting of an upstream that selects methods. */
const selectorsOf: readonly ((config: UpstreamConfig) => Selectors)[] = [
  ({ timeouts }) => fromKeys('timeouts', timeouts),
  ({ max_body }) => fromKeys('max_body', max_body),
  ({ oauth }) => fromList('oauth', oauth),
  ({ access }) => access.map(({ selector }, index) => [['access', index, 'selector'], selector]),
];

/** A selector with a slip in it would leave methods without what it was written for, and say nothing. */
export function* selectors({ upstreams, config, methods, complete }: Subject): Iterable<FileFault> {
  for (const upstream of upstreams) {
    const at = ['upstreams', upstream.config.name];
    for (const of of selectorsOf) {
      yield* strays(of(upstream.config), upstream.methods, at, `a method of upstream ${upstream.config.name}`);
      yield* repeated(of(upstream.config), at);
    }
    yield* ruleSelectors(upstream, at);
    yield* oauthWithoutRules(upstream, at);
    yield* serviceNames(upstream, at);
  }
  // Without all upstreams there is no telling what is served.
  if (!complete) return;
  for (const [index, { rpcs }] of config.limits.review.unlimited.entries()) {
    const at = ['limits', 'review', 'unlimited', index];
    yield* strays(fromList('rpcs', rpcs), methods, at, 'a method that is served');
    yield* repeated(fromList('rpcs', rpcs), at);
  }
  for (const [index, { match }] of config.limits.policies.entries()) {
    const at = ['limits', 'policies', index, 'match'];
    for (const key of ['rpcs', 'except_rpcs'] as const) {
      const written = fromList(key, match[key] ?? []);
      yield* strays(written, methods, at, 'a method that is served');
      yield* repeated(written, at);
    }
  }
}

function* strays(written: Selectors, methods: readonly MethodInfo[], at: Path, what: string): Iterable<FileFault> {
  for (const [path, selector] of written) {
    if (methods.some((method) => selectorRank(selector, method) !== undefined)) continue;
    yield faultAt([...at, ...path], {
      value: selector,
      expected: `${what}: package.Service.Method, package.Service.* or package.*`,
      meant: nearestSelector(selector, methods),
    });
  }
}

function* repeated(written: Selectors, at: Path): Iterable<FileFault> {
  const seen = new Set<string>();
  for (const [path, selector] of written) {
    if (seen.has(selector)) {
      yield faultAt([...at, ...path], {
        value: selector,
        expected: 'each selector once: of two alike one has no effect',
      });
    }
    seen.add(selector);
  }
}

function* ruleSelectors({ config, methods }: LoadedUpstream, at: Path): Iterable<FileFault> {
  const known = new Set(methods.map(nameOf));
  const written = config.http.rules.map(
    ({ selector }, index) => [['http', 'rules', index, 'selector'], selector] as const,
  );
  for (const [path, selector] of written) {
    if (known.has(selector)) continue;
    yield faultAt([...at, ...path], {
      value: selector,
      expected: `a method of upstream ${config.name}: package.Service.Method`,
      meant: nearestName(gRpcForm(selector), known),
    });
  }
  yield* repeated(
    written.map(([path, selector]) => [[...path], selector] as const),
    at,
  );
}

function* oauthWithoutRules({ config, methods, bindings }: LoadedUpstream, at: Path): Iterable<FileFault> {
  for (const [index, selector] of config.oauth.entries()) {
    const selects = (method: MethodInfo) => selectorRank(selector, method) !== undefined;
    if (!methods.some(selects) || bindings.some(({ method }) => selects(method))) continue;
    const expected = 'methods with an HTTP rule: RFC 6749 speaks of no other';
    yield faultAt([...at, 'oauth', index], { value: selector, expected });
  }
}

function* serviceNames({ config, schema }: LoadedUpstream, at: Path): Iterable<FileFault> {
  const known = new Set([...schema.methods.values()].map(({ service }) => service));
  for (const [index, service] of (config.services ?? []).entries()) {
    const path = [...at, 'services', index];
    if (!known.has(service)) {
      yield faultAt(path, { value: service, expected: `a service of ${config.descriptor_set}`, among: known });
    } else if (config.services!.indexOf(service) !== index) {
      yield faultAt(path, { value: service, expected: 'each service once' });
    }
  }
}

const nameOf = ({ service, name }: MethodInfo) => `${service}.${name}`;

/** `/package.Service/Method`, as gRPC writes it, with dots. */
const gRpcForm = (text: string) => text.replace(/^\//, '').replaceAll('/', '.');

function nearestSelector(selector: string, methods: readonly MethodInfo[]): string | undefined {
  const names = methods.map(nameOf);
  if (!selector.endsWith('*')) {
    const services = methods.map(({ service }) => `${service}.*`);
    return nearestName(gRpcForm(selector), new Set([...names, ...services]));
  }
  const prefixes = names.flatMap((name) => {
    const parts = name.split('.').slice(0, -1);
    return parts.map((_, index) => `${parts.slice(0, index + 1).join('.')}.*`);
  });
  return nearestName(gRpcForm(selector), new Set(prefixes));
}
