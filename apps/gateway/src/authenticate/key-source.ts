import { fromBinary, toJson } from '@bufbuild/protobuf';
import { Problem } from '@sluice/problem';
import type { JsonWebKeySet } from '@sluice/identity';
import type { Upstream } from '../upstream/upstream.js';

/** One fetch of keys may take so long: it stands before a call that waits for it, and has a time limit of its own. */
const FETCH_MS = 5000;

const METHOD = '/sluice.user.v1.KeyService/GetKeySet';

/** Keys of our own user service, over gRPC. */
export function keysFromUpstream(upstream: Upstream): Promise<JsonWebKeySet> {
  const { channel, schema } = upstream;
  const method = schema.methods.get(METHOD);
  return new Promise((resolve, reject) => {
    if (!method) return reject(new Error(`${upstream.name} has no ${METHOD}`));
    let answer: Buffer | undefined;
    channel.unary(
      channel.method(METHOD),
      [],
      new Uint8Array(0),
      { deadline: Date.now() + FETCH_MS, idempotent: true },
      {
        onHeaders: () => undefined,
        onMessage: (message) => (answer = message),
        onEnd: (outcome) => {
          if (outcome.code !== 0 || !answer) return reject(new Problem('UNAVAILABLE', '', { cause: outcome.message }));
          const { output } = method.desc;
          // An empty list is left out of the JSON.
          resolve({ keys: [], ...(toJson(output, fromBinary(output, answer)) as object) } satisfies JsonWebKeySet);
        },
      },
    );
  });
}
