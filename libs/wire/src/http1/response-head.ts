/** The parts of a response's head (RFC 9112 sections 4 and 5). What frames the message is not for the caller to say. */
import { STATUS_CODES } from 'node:http';
import { httpDate } from '../date.js';
import type { Fields } from '../fields.js';
import { isFieldValue, isSendableName } from '../http2/field-rules.js';
import { CR, LF } from './octets.js';

/**
 * Field lines, as latin1 text.
 *
 * @param vouched more fields, which the caller knows to be legal
 * @throws TypeError for a field that would break the message, such as a value with a line end
 */
export function fieldLines(fields: Fields, vouched: Fields = []): string {
  let lines = '';
  for (const field of vouched) lines += `${field[0]}: ${field[1]}\r\n`;
  for (const [name, value] of fields) {
    if (!isSendableName(name)) throw new TypeError(`wire: ${JSON.stringify(name)} cannot be the name of a field`);
    if (!isFieldValue(value)) throw new TypeError(`wire: the value of ${name} cannot be sent`);
    lines += `${name}: ${value}\r\n`;
  }
  return lines;
}

/** @throws TypeError when this is no status */
export function statusLine(status: number): string {
  if (!Number.isInteger(status) || status < 100 || status > 599) throw new TypeError(`wire: ${status} is not a status`);
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`;
}

/** What becomes of the connection after a response. */
export const After = { PERSISTS: 0, PERSISTS_1_0: 1, CLOSES: 2 } as const;

/**
 * What every head ends with: the `Date` field, which a server with a clock sends (RFC 9110 section 6.6.1), what becomes of the
 * connection, and the empty line.
 */
export function ending(after: number): Uint8Array {
  const date = httpDate();
  if (date !== endings.date) {
    endings = { date, byAfter: CONNECTION_LINES.map((line) => Buffer.from(`date: ${date}\r\n${line}\r\n`, 'latin1')) };
  }
  return endings.byAfter[after]!;
}

/** By {@link After}. */
const CONNECTION_LINES = ['', 'connection: keep-alive\r\n', 'connection: close\r\n'];
/** Those of one second. */
let endings: { readonly date: string; readonly byAfter: readonly Uint8Array[] } = { date: '', byAfter: [] };

/** Octets that {@link writeLength} writes at most. */
export const LENGTH_OCTETS_MAX = 40;

/**
 * Writes `Content-Length`.
 * @param length octets of the body
 * @returns the offset after the line
 */
export function writeLength(page: Uint8Array, at: number, length: number): number {
  page.set(LENGTH_NAME, at);
  at += LENGTH_NAME.length;
  let digits = 1;
  for (let bound = 10; length >= bound; bound *= 10) digits++;
  let rest = length;
  for (let digit = at + digits - 1; digit >= at; digit--) {
    const tenth = Math.floor(rest / 10);
    page[digit] = ZERO + (rest - tenth * 10);
    rest = tenth;
  }
  at += digits;
  page[at++] = CR;
  page[at++] = LF;
  return at;
}

const LENGTH_NAME = Buffer.from('content-length: ', 'latin1');
const ZERO = 0x30;
