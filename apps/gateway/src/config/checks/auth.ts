import { faultAt, type FileFault } from '@sluice/config';
import type { Subject } from './check.js';

const KEY_SERVICE = 'sluice.user.v1.KeyService';
const VERIFICATION_SERVICE = 'sluice.machines.v1.ApiKeyVerificationService';
const REVOCATION_SERVICE = 'sluice.user.v1.RevocationService';

/** Who issues tokens, where the keys are, and what keeps tokens out that are for something else. */
export function* auth({ config, upstreams, complete, part }: Subject): Iterable<FileFault> {
  if (config.auth.mode !== 'jwt') return;
  const { audience, typ, keys, issuer, revocations, api_keys: apiKeys } = config.auth;
  if (audience === undefined && typ === undefined) {
    yield faultAt(['auth'], {
      expected:
        '`audience` or `typ` (such as at+jwt): without either any token of the issuer passes, an ID token too; `audience: any` says that it is meant',
    });
  }
  if (keys === undefined && !(issuer !== undefined && /^https?:/.test(issuer) && URL.canParse(issuer))) {
    yield faultAt(['auth', 'keys'], { expected: '`jwks_url` or `upstream`, or an issuer that is a URL' });
  }
  const named = function* (path: string[], name: string, service: string): Iterable<FileFault> {
    const among = config.upstreams.map((upstream) => upstream.name);
    if (!among.includes(name)) {
      if (!part) yield faultAt(path, { value: name, expected: 'the name of an upstream', among });
      return;
    }
    const upstream = upstreams.find((one) => one.config.name === name);
    if (complete && upstream && !upstream.schema.registry.getService(service)) {
      yield faultAt(path, { value: name, expected: `an upstream whose descriptor set has ${service}` });
    }
  };
  if (keys && 'upstream' in keys) yield* named(['auth', 'keys', 'upstream'], keys.upstream, KEY_SERVICE);
  if (apiKeys) {
    yield* named(['auth', 'api_keys', 'upstream'], apiKeys.upstream, VERIFICATION_SERVICE);
    if (!revocations) {
      yield faultAt(['auth', 'api_keys'], {
        expected: '`auth.revocations` beside it: its stream tells of keys that were revoked',
      });
    }
  }
  if (revocations) yield* named(['auth', 'revocations', 'upstream'], revocations.upstream, REVOCATION_SERVICE);
}
