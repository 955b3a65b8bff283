import type { ProblemHeaders } from '@sluice/problem';
import type { Field, Fields } from '@sluice/wire';
import { jsonType } from '../respond/common-fields.js';
import type { Upstream } from './upstream.js';

/** Response metadata that become header fields of a REST answer without being listed in the configuration. */
const passed = [
  'set-cookie',
  'location',
  'cache-control',
  'etag',
  'last-modified',
  'content-language',
  'content-disposition',
  'vary',
  'link',
  'retry-after',
  'www-authenticate',
];

/** Of these, those that speak of a body that a refusal does not have. */
const ofBody = new Set(['etag', 'last-modified', 'content-language', 'content-disposition']);

/** Fields that frame or type an answer, or are for one hop alone: never an upstream's to say over REST. */
export const gatewaysOwn: ReadonlySet<string> = new Set([
  'alt-svc',
  'connection',
  'content-length',
  'content-type',
  'date',
  'http2-settings',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'x-request-id',
  'x-http-code',
]);

/** Which metadata of an upstream become header fields. */
export interface PassedMetadata {
  readonly ofAnswers: ReadonlySet<string>;
  readonly ofFailures: ReadonlySet<string>;
}

/** @param listed `response_headers` of the configuration */
export function passedMetadata(listed: readonly string[]): PassedMetadata {
  return {
    ofAnswers: new Set([...passed, ...listed]),
    ofFailures: new Set([...passed.filter((name) => !ofBody.has(name)), ...listed]),
  };
}

/** The header fields of a REST answer: its type, and of the metadata the usual ones and those the configuration lists. */
export function responseHeaders(contentType: string, metadata: Fields, trailers: Fields, upstream: Upstream): Field[] {
  const fields: Field[] = [contentType === jsonType[1] ? jsonType : ['content-type', contentType]];
  addPassed(fields, metadata, upstream.passed.ofAnswers);
  // Nearly every call that went well has `grpc-status` alone.
  if (trailers.length > 1) addPassed(fields, trailers, upstream.passed.ofAnswers);
  return fields;
}

function addPassed(fields: Field[], metadata: Fields, names: ReadonlySet<string>): void {
  for (const field of metadata) if (names.has(field[0])) fields.push(field);
}

/** Fields of which there may be several lines; of any other the last counts (RFC 9110 section 5.3). */
const severalLines = new Set(['set-cookie', 'www-authenticate', 'link', 'vary', 'cache-control']);

const RETRY_AFTER = /^(\d{1,10}|(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT)$/;

/** The header fields that a failed call's metadata become. */
export function failureHeaders(metadata: Fields, trailers: Fields, upstream: Upstream): ProblemHeaders | undefined {
  let headers: Record<string, string | string[]> | undefined;
  for (const fields of [metadata, trailers]) {
    for (const [name, value] of fields) {
      if (!upstream.passed.ofFailures.has(name)) continue;
      if (name === 'retry-after' && !RETRY_AFTER.test(value)) continue;
      headers ??= {};
      if (severalLines.has(name)) headers[name] = [...(headers[name] ?? []), value];
      else headers[name] = value;
    }
  }
  return headers;
}

/** Metadata by which a service names the HTTP status of a REST answer. */
const HTTP_CODE = 'x-http-code';

/** Statuses that say nothing without a field: redirections without a place to go to, a part without its range (RFC 9110 section 15). */
const needed: Readonly<Record<number, string>> = {
  206: 'content-range',
  301: 'location',
  302: 'location',
  303: 'location',
  307: 'location',
  308: 'location',
};
/** Statuses that speak of a hop, which is the gateway's to do (RFC 9110 sections 15.5.8, 15.5.20 and 15.5.22). */
const ofHop = new Set([407, 421, 426]);

/** Whether a status comes without a body (RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5). */
export function isBodiless(status: number): boolean {
  return status === 204 || status === 205 || status === 304;
}

/** The status of an answer that went well: what the service named, from 200 to 399, else 200. */
export function answerStatus(metadata: Fields, trailers: Fields): number {
  const named = namedStatus(metadata) ?? (trailers.length > 1 ? namedStatus(trailers) : undefined);
  if (named === undefined || named < 200 || named > 399) return 200;
  const field = needed[named];
  const has = (fields: Fields) => fields.some(([name]) => name === field);
  return field === undefined || has(metadata) || has(trailers) ? named : 200;
}

/** The status that a service named for a failure, from 400 to 599; undefined: that of the gRPC code. */
export function failureStatus(metadata: Fields, trailers: Fields): number | undefined {
  const named = namedStatus(trailers) ?? namedStatus(metadata);
  return named !== undefined && named >= 400 && named <= 599 && !ofHop.has(named) ? named : undefined;
}

function namedStatus(fields: Fields): number | undefined {
  for (const [name, value] of fields) if (name === HTTP_CODE) return /^\d{3}$/.test(value) ? Number(value) : undefined;
  return undefined;
}
