import { Problem } from '@sluice/problem';
import { INT64_MAX, NAME_LENGTH_MAX, NODE_ID, REASON_CHARACTERS_MAX, REQUEST_ID_CHARACTERS_MAX } from './limits.js';

export function invalid(field: string, expectation: string): Problem {
  return new Problem('INVALID_ARGUMENT', `${field}: expected ${expectation}`, { details: { field } });
}

/** Control characters (C0, DEL, C1) and half surrogates, which are not the same text on both sides of Postgres. */
const UNFIT = /[\p{Control}\p{Surrogate}]/u;

/** @throws Problem INVALID_ARGUMENT */
export function readRequestId(value: string): string {
  const characters = [...value].length;
  if (characters < 1 || characters > REQUEST_ID_CHARACTERS_MAX || UNFIT.test(value)) {
    throw invalid('request_id', `1 to ${REQUEST_ID_CHARACTERS_MAX} characters without control characters`);
  }
  return value;
}

/**
 * A count of tokens as the decimal text of an int64, which it stays all the way to Postgres.
 *
 * @throws Problem INVALID_ARGUMENT with the field's name
 */
export function readTokens(field: string, value: string): string {
  const count = BigInt(value);
  if (count < 1n || count > INT64_MAX) throw invalid(field, `a whole number from 1 to ${INT64_MAX}`);
  return count.toString();
}

/** @throws Problem INVALID_ARGUMENT */
export function readTtl(value: string, min: 0 | 1, max: number): number {
  const seconds = BigInt(value);
  if (seconds < BigInt(min) || seconds > BigInt(max)) {
    throw invalid('ttl_seconds', `a whole number of seconds from ${min} to ${max}`);
  }
  return Number(seconds);
}

/** @throws Problem INVALID_ARGUMENT */
export function readReason(value: string): string {
  const characters = [...value.trim()].length;
  if (characters < 1 || characters > REASON_CHARACTERS_MAX || UNFIT.test(value)) {
    throw invalid('reason', `1 to ${REASON_CHARACTERS_MAX} characters without control characters`);
  }
  return value.trim();
}

/**
 * Text that is only compared with what is stored; empty when nothing was named.
 *
 * @throws Problem INVALID_ARGUMENT
 */
export function readName(field: string, value: string): string {
  if (value.length > NAME_LENGTH_MAX || UNFIT.test(value)) {
    throw invalid(field, `at most ${NAME_LENGTH_MAX} characters without control characters`);
  }
  return value;
}

/** @throws Problem INVALID_ARGUMENT */
export function readNodeId(value: string, field = 'node_id'): string {
  if (!NODE_ID.test(value)) {
    throw invalid(field, '1 to 63 letters, digits, ".", "_" or "-", the first a letter or digit');
  }
  return value;
}

/** @throws Problem INVALID_ARGUMENT */
export function readOneOf<T extends string>(field: string, words: readonly T[], value: string): T {
  const word = words.find((candidate) => candidate === value);
  if (word === undefined) throw invalid(field, words.join(' or '));
  return word;
}
