/** The head of a response (RFC 9112 sections 4 and 5), as latin1 text. */
import { STATUS_CODES } from 'node:http';
import type { Fields } from '../fields.js';
import { isFieldValue, isSendableName } from '../http2/field-rules.js';

/**
 * A status line and the fields given, without the empty line at their end. What frames the message is not for the caller to say.
 *
 * @throws TypeError for a field that would break the message, such as a value with a line end
 */
export function responseHead(status: number, fields: Fields): string {
  return (statusLines.get(status) ?? statusLine(status)) + fieldLines(fields);
}

/** Lists that do not change, as they are sent. */
const fixed = new WeakMap<Fields, string>();

/**
 * Fields that are sent again and again: checked and joined here, once.
 *
 * @throws TypeError as {@link responseHead} does
 */
export function fixedFields(fields: Fields): Fields {
  const frozen = Object.freeze(fields.map((field) => Object.freeze([...field] as const)));
  fixed.set(frozen, joined(frozen));
  return frozen;
}

/** @throws TypeError as {@link responseHead} does */
export function fieldLines(fields: Fields): string {
  return fixed.get(fields) ?? joined(fields);
}

function joined(fields: Fields): string {
  let lines = '';
  for (const [name, value] of fields) {
    if (!isSendableName(name)) throw new TypeError(`wire: ${JSON.stringify(name)} cannot be the name of a field`);
    if (!isFieldValue(value)) throw new TypeError(`wire: the value of ${name} cannot be sent`);
    lines += `${name}: ${value}\r\n`;
  }
  return lines;
}

/** The `Date` field, which every response of a server with a clock has (RFC 9110 section 6.6.1). */
export function dateField(): string {
  const now = Date.now();
  if (now >= dateUntil || now < dateUntil - SECOND_MS) {
    dateUntil = now - (now % SECOND_MS) + SECOND_MS;
    date = `date: ${new Date(now).toUTCString()}\r\n`;
  }
  return date;
}

const SECOND_MS = 1000;
let date = '';
let dateUntil = 0;

const statusLines = new Map<number, string>();

function statusLine(status: number): string {
  if (!Number.isInteger(status) || status < 100 || status > 599) throw new TypeError(`wire: ${status} is not a status`);
  const line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n`;
  statusLines.set(status, line);
  return line;
}
