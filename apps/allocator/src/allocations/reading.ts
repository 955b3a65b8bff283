import { Problem } from '@sluice/problem';
import { ASKED_MAX } from '../accounts/units.js';
import {
  INT64_MAX,
  LABELS_MAX,
  LABEL_CHARACTERS_MAX,
  NAME_LENGTH_MAX,
  NODE_ID,
  REASON_CHARACTERS_MAX,
  REQUEST_ID_CHARACTERS_MAX,
} from './limits.js';

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

/** What an account is named by in a request: its id, its path of names, or `-` for the root; empty when none was named. */
const ACCOUNT_CHARACTERS_MAX = 600;

/** @throws Problem INVALID_ARGUMENT */
export function readAccount(field: string, value: string): string {
  const segments = value.split('/');
  if (value !== '' && (value.length > ACCOUNT_CHARACTERS_MAX || UNFIT.test(value) || segments.includes(''))) {
    throw invalid(field, 'the id of an account (acc_12), or its path of names without empty ones (search/indexer)');
  }
  return value;
}

/**
 * Micro-USD; undefined for 0.
 *
 * @throws Problem INVALID_ARGUMENT
 */
export function readCost(value: string): string | undefined {
  const cost = BigInt(value);
  if (cost < 0n || cost > ASKED_MAX) throw invalid('cost_micros', `a whole number from 0 to ${ASKED_MAX}`);
  return cost === 0n ? undefined : cost.toString();
}

/** Undefined for `default`. @throws Problem INVALID_ARGUMENT */
export function readPool(value: string): string | undefined {
  return value === '' || value === 'default' ? undefined : readNodeId(value, 'pool');
}

/**
 * Labels as a JSON object in the order of their names; undefined for none.
 *
 * @throws Problem INVALID_ARGUMENT
 */
export function readLabels(labels: Readonly<Record<string, string>>): string | undefined {
  const pairs = Object.entries(labels);
  if (pairs.length === 0) return undefined;
  const fits = (text: string) => text.length >= 1 && text.length <= LABEL_CHARACTERS_MAX && !UNFIT.test(text);
  if (pairs.length > LABELS_MAX || !pairs.every(([name, value]) => fits(name) && fits(value))) {
    throw invalid('labels', `at most ${LABELS_MAX}, names and values of 1 to ${LABEL_CHARACTERS_MAX} characters`);
  }
  return JSON.stringify(Object.fromEntries(pairs.toSorted(([one], [other]) => (one < other ? -1 : 1))));
}

/** A node's refill window: at most `limit` tokens (decimal text) in `seconds`; 0 and 0: none. */
export interface NodeWindow {
  readonly limit: string;
  readonly seconds: number;
}

const WINDOW_SECONDS_MAX = 86_400;

/** @throws Problem INVALID_ARGUMENT */
export function readWindow(limit: string, seconds: number): NodeWindow {
  const tokens = BigInt(limit);
  if (tokens === 0n && seconds === 0) return { limit: '0', seconds: 0 };
  if (seconds < 1 || seconds > WINDOW_SECONDS_MAX) {
    throw invalid('window_seconds', `a whole number of seconds from 1 to ${WINDOW_SECONDS_MAX}`);
  }
  return { limit: readTokens('window_limit', limit), seconds };
}

/** @throws Problem INVALID_ARGUMENT */
export function readRest(value: string): number {
  const seconds = BigInt(value);
  if (seconds < 0n || seconds > 86_400n) throw invalid('seconds', 'a whole number of seconds from 0 to 86400');
  return Number(seconds);
}
