import type { CompiledPolicy } from '../policy.js';
import type { Ask, Verdict } from '../store.js';
import { ASK_BYTES, LAST_OF_CALL, RULE_BYTES, SHADOW } from './script.js';

/** The asks of some calls as arguments of the script. */
export interface Batch {
  readonly keys: readonly string[];
  readonly rules: Buffer;
  readonly asks: Buffer;
}

/** Lays out calls for the script (see script.ts). A bucket that several calls draw on becomes one key. */
export function encodeBatch(calls: readonly (readonly Ask[])[], keyOf: (ask: Ask) => string): Batch {
  const keys = new Map<string, number>();
  const rules = new Map<CompiledPolicy, number>();
  let count = 0;
  for (const call of calls) count += call.length;
  const asks = Buffer.allocUnsafe(count * ASK_BYTES);
  let at = 0;
  for (const call of calls) {
    for (const ask of call) {
      asks.writeUInt16LE(numberOf(keys, keyOf(ask)), at);
      asks.writeUInt16LE(numberOf(rules, ask.policy), at + 2);
      asks.writeUInt32LE(ask.cost, at + 4);
      asks[at + 8] = ask.shadow ? SHADOW : 0;
      at += ASK_BYTES;
    }
    asks[at - 1] = (asks[at - 1] as number) | LAST_OF_CALL;
  }
  return { keys: [...keys.keys()], rules: encodeRules([...rules.keys()]), asks };
}

function numberOf<K>(numbers: Map<K, number>, key: K): number {
  const known = numbers.get(key);
  if (known !== undefined) return known;
  const next = numbers.size + 1;
  numbers.set(key, next);
  return next;
}

function encodeRules(policies: readonly CompiledPolicy[]): Buffer {
  const rules = Buffer.allocUnsafe(policies.length * RULE_BYTES);
  policies.forEach((policy, index) => {
    const at = index * RULE_BYTES;
    const isBucket = policy.algorithm === 'token_bucket';
    rules[at] = isBucket ? 0 : 1;
    rules.writeDoubleLE(policy.capacity, at + 1);
    rules.writeDoubleLE(isBucket ? policy.unitUs : policy.windowUs, at + 9);
    rules.writeDoubleLE(policy.grainUs, at + 17);
  });
  return rules;
}

/** The verdicts of each call from the script's result. */
export function decodeVerdicts(calls: readonly (readonly Ask[])[], result: readonly number[]): Verdict[][] {
  let at = 0;
  return calls.map((call) =>
    call.map(({ policy, shadow }) => {
      const wait = result[at] as number;
      const remaining = result[at + 1] as number;
      const reset = result[at + 2] as number;
      at += 3;
      return {
        policy,
        shadow,
        refused: wait !== 0,
        remaining,
        retryAfterMs: wait < 0 ? Infinity : wait / 1000,
        resetMs: reset / 1000,
      };
    }),
  );
}
