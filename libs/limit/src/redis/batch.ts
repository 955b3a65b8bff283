import type { CompiledPolicy } from '../policy.js';
import type { Ask, Verdict } from '../store.js';
import { ASK_BYTES, RULE_BYTES } from './script.js';

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
  for (let call = 0; call < calls.length; call++) {
    for (const ask of calls[call] as readonly Ask[]) {
      const key = numberOf(keys, keyOf(ask));
      const rule = numberOf(rules, ask.policy);
      asks.writeUInt16LE(call + 1, at);
      asks.writeUInt16LE(key, at + 2);
      asks.writeUInt16LE(rule, at + 4);
      asks.writeUInt32LE(ask.cost, at + 6);
      asks[at + 10] = ask.shadow ? 1 : 0;
      at += ASK_BYTES;
    }
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
