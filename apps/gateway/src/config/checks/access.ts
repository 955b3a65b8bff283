import { faultAt, type FileFault } from '@sluice/config';
import { methodOption } from '@sluice/transcode';
import { ACCESS_OPTION, bySelector } from '../../route/access.js';
import type { AccessRuleConfig } from '../schema.js';
import type { Subject } from './check.js';

const NOBODY = '`auth`: without it nobody is known, and everybody may call';

/** What asks who is calling needs `auth`, wherever it is asked: in the file or in the annotations of a service. */
export function* access({ upstreams, authenticates, config }: Subject): Iterable<FileFault> {
  const takesKeys = config.auth.mode === 'jwt' && config.auth.api_keys !== undefined;
  const tellsOfEnds = config.auth.mode === 'jwt' && config.auth.revocations !== undefined;
  for (const { config: upstream, schema, methods } of upstreams) {
    for (const [index, rule] of upstream.access.entries()) {
      const at = ['upstreams', upstream.name, 'access', index];
      if (!authenticates) {
        if (rule.roles.length > 0) yield faultAt([...at, 'roles'], { value: rule.roles, expected: NOBODY });
        if (rule.verified_email) yield faultAt([...at, 'verified_email'], { value: true, expected: NOBODY });
        if (rule.no_guests) yield faultAt([...at, 'no_guests'], { value: true, expected: NOBODY });
      }
      if (rule.no_keys && !takesKeys) {
        yield faultAt([...at, 'no_keys'], {
          value: true,
          expected: '`auth.api_keys`: without it nobody comes with a key',
        });
      }
      if (rule.ended_sessions && !tellsOfEnds) {
        const expected = '`auth.revocations`: without it no session is known to have ended';
        yield faultAt([...at, 'ended_sessions'], { value: true, expected });
      }
    }
    if (authenticates) continue;
    const rules = upstream.access.map((rule) => [rule.selector, rule] as const);
    for (const method of methods) {
      const option = methodOption(schema, method, ACCESS_OPTION) as Partial<AccessRuleConfig> | undefined;
      if (!option?.roles?.length && !option?.no_guests) continue;
      if (bySelector(rules, method)) continue;
      const name = `${method.service}.${method.name}`;
      const asks = option.roles?.length ? `the role ${option.roles.join(' or ')}` : 'callers that are no guests';
      yield {
        path: ['upstreams', upstream.name, 'descriptor_set'],
        message: `${name} is annotated to ask for ${asks}: expected ${NOBODY}; an access rule with public: true says that it is meant`,
      };
    }
  }
}
