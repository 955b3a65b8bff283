import type { Field } from '@sluice/wire';
import type { CorsConfig } from '../config/schema.js';
import type { Exchange } from '../exchange.js';
import { respond } from './respond.js';

/**
 * Pipeline stage: cross-origin requests (https://fetch.spec.whatwg.org/#http-cors-protocol). Answers preflight requests,
 * and lets pages of the configured origins read answers. A request from another origin goes on without leave to read its answer.
 */
export function cors(exchange: Exchange): void {
  const { head, runtime, transport } = exchange;
  const rules = runtime.config.cors;
  if (!rules) return;
  const any = rules.origins.includes('*');
  const fields: Field[] = any ? [] : [['vary', 'origin']];
  const allowed = head.origin !== undefined && (any || rules.origins.includes(head.origin));
  if (allowed) fields.push(...originFields(rules, head.origin!));
  const asksFirst =
    transport.method === 'OPTIONS' && head.passable.some(([name]) => name === 'access-control-request-method');
  if (!asksFirst || head.origin === undefined) {
    if (allowed) fields.push(['access-control-expose-headers', rules.response_headers.join(', ')]);
    exchange.responseFields.push(...fields);
    return;
  }
  if (allowed) {
    fields.push(
      ['access-control-allow-methods', rules.methods.join(', ')],
      ['access-control-allow-headers', rules.request_headers.join(', ')],
      ['access-control-max-age', String(Math.floor(rules.max_age / 1000))],
    );
  }
  respond(exchange, 204, fields, undefined);
}

function originFields(rules: CorsConfig, origin: string): Field[] {
  const fields: Field[] = [['access-control-allow-origin', rules.origins.includes('*') ? '*' : origin]];
  if (rules.credentials) fields.push(['access-control-allow-credentials', 'true']);
  return fields;
}
