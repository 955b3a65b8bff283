import { type Field, type Fields, FixedFields } from '@sluice/wire';
import type { HstsConfig } from '../config/schema.js';

/** What every answer carries unless an upstream says otherwise: answers of an API belong in no shared cache. */
export const nosniff: Field = ['x-content-type-options', 'nosniff'];
export const noStore: Field = ['cache-control', 'no-store'];
export const jsonType: Field = ['content-type', 'application/json'];

/** The fields that answers have in common, by how they are carried. */
export interface CommonFieldsOfSchemes {
  readonly http: CommonFields;
  readonly https: CommonFields;
}

const NO_FIELDS: Fields = [];

export class CommonFields {
  private readonly usual: FixedFields;
  private readonly cached: FixedFields;
  private readonly jsonAlone: FixedFields;

  /** @param more of every answer */
  constructor(private readonly more: Fields) {
    this.usual = new FixedFields([nosniff, noStore, ...more], { dated: true });
    this.cached = new FixedFields([nosniff, ...more], { dated: true });
    this.jsonAlone = new FixedFields([jsonType, nosniff, noStore, ...more], { dated: true });
  }

  /** @param hsts `Strict-Transport-Security` of answers over TLS (RFC 6797 section 7.2: of no others) */
  static ofSchemes(hsts: Field | undefined): CommonFieldsOfSchemes {
    return { http: new CommonFields([]), https: new CommonFields(hsts ? [hsts] : []) };
  }

  /**
   * Splits the fields of an answer.
   *
   * @param fields of this answer
   * @returns those that many answers begin with, and its own
   */
  split(fields: Fields): { fixed: FixedFields; own: Fields } {
    if (fields.length === 1 && fields[0] === jsonType) return { fixed: this.jsonAlone, own: NO_FIELDS };
    const fixed = fields.some(([name]) => name === 'cache-control') ? this.cached : this.usual;
    return { fixed, own: fields };
  }

  /** The fields of an answer that is made again and again. */
  fixed(fields: Fields): FixedFields {
    return new FixedFields([...fields, nosniff, noStore, ...this.more], { dated: true });
  }
}

/** `Strict-Transport-Security` as the configuration says; undefined: none. */
export function hstsField(hsts: HstsConfig): Field | undefined {
  if (hsts === false) return undefined;
  const more = `${hsts.include_subdomains ? '; includeSubDomains' : ''}${hsts.preload ? '; preload' : ''}`;
  return ['strict-transport-security', `max-age=${Math.floor(hsts.max_age / 1000)}${more}`];
}
