import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type LookedUpKey, refusals, type Verdict } from '@sluice/identity';
import { Problem } from '@sluice/problem';
import type { Upstream } from '../upstream/upstream.js';
import { metadataFor } from './revocations.js';

/** It stands before a call that waits for it, and has a time limit of its own, in milliseconds. */
const LOOK_UP_MS = 2000;
const METHOD = '/sluice.machines.v1.ApiKeyVerificationService/VerifyApiKey';

/** VerifyApiKeyResponse of the contract. */
interface Answer {
  readonly state: number;
  readonly keyId: string;
  readonly subject: string;
  readonly tenant: string;
  readonly roles: string[];
  readonly scope: string;
  readonly account: string;
  readonly unverified: boolean;
  readonly restrictions?: { readonly methods: string[]; readonly models: string[]; readonly networks: string[] };
  readonly expireTimeMs: bigint;
}

/** Why a key in one of the states is refused; those of `State` in the contract. */
const refusalOf: Readonly<Record<number, Problem>> = {
  0: refusals.keyUnknown,
  2: refusals.keyRevoked,
  3: refusals.keyExpired,
  4: refusals.keyOwnerLocked,
  5: refusals.keyTenantClosed,
};
const GOOD = 1;

/** Asks our own user service about the key that has this SHA-256. Rejects with Problem UNAVAILABLE. */
export function lookUpKey(upstream: Upstream, digest: Buffer): Promise<LookedUpKey> {
  const { channel, schema } = upstream;
  const method = schema.methods.get(METHOD);
  return new Promise((resolve, reject) => {
    const unknown = (cause: string) =>
      reject(
        new Problem('UNAVAILABLE', refusals.apiKeysUnavailable.message, { details: { retry_after_ms: 1000 }, cause }),
      );
    if (!method) return unknown(`${upstream.name} has no ${METHOD}`);
    const { input, output } = method.desc;
    let answer: Answer | undefined;
    channel.unary(
      channel.method(METHOD),
      metadataFor(upstream),
      toBinary(input, create(input, { digest } as never)),
      { deadline: Date.now() + LOOK_UP_MS, idempotent: true },
      {
        onHeaders: () => undefined,
        onMessage: (bytes) => (answer = fromBinary(output, bytes) as unknown as Answer),
        onEnd: ({ code, message }) => {
          if (code !== 0 || answer === undefined) return unknown(message);
          resolve({ keyId: answer.keyId, verdict: verdictOf(answer) });
        },
      },
    );
  });
}

function verdictOf(answer: Answer): Verdict {
  if (answer.state !== GOOD) return refusalOf[answer.state] ?? refusals.keyRevoked;
  const { keyId: id, restrictions } = answer;
  return {
    subject: answer.subject,
    tenant: answer.tenant,
    session: '',
    roles: answer.roles,
    scope: answer.scope,
    guest: false,
    ...(answer.unverified && { unverified: true as const }),
    account: answer.account,
    key: {
      id,
      methods: restrictions?.methods ?? [],
      models: restrictions?.models ?? [],
      networks: restrictions?.networks ?? [],
    },
    expiresAtMs: answer.expireTimeMs === 0n ? Infinity : Number(answer.expireTimeMs),
  };
}
