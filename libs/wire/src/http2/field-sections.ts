/** The regular fields of a header list, and what is known of them. */
import type { Field, Fields, FieldSection } from '../fields.js';
import { contentLength, fieldFault } from './field-rules.js';

/** The part of a header list behind the pseudo-fields, which requests to different paths may have in common. */
export interface RegularFields extends FieldSection {
  /** Why a message with them is malformed, whatever its role; absent when it is not. */
  readonly fault: string | undefined;
  /** What `content-length` says; -1 without one. */
  readonly bodyLength: number;
}

const SECTIONS = 4;
const FIELDS_MAX = 64;

/** The last sections of a connection: one of the very same fields, the objects, is found again, with its meaning. */
export class FieldSections {
  private sections: RegularFields[] = [];

  /** @param from where the regular fields begin */
  of(fields: readonly Field[], from: number): RegularFields {
    const { sections } = this;
    for (let index = 0; index < sections.length; index++) {
      const section = sections[index]!;
      if (!sameFields(section.fields, fields, from)) continue;
      // Nearer to the front, so that the usual ones are found first.
      if (index > 0) [sections[index - 1], sections[index]] = [section, sections[index - 1]!];
      return section;
    }
    const section = this.examine(fields.slice(from));
    if (section.fields.length > FIELDS_MAX) return section;
    if (sections.length === SECTIONS) sections.pop();
    sections.unshift(section);
    return section;
  }

  forget(): void {
    if (this.sections.length > 0) this.sections = [];
  }

  private examine(fields: Fields): RegularFields {
    const bodyLength = contentLength(fields) ?? -1;
    const fault = Number.isNaN(bodyLength) ? 'an illegal content-length' : fieldFault(this.unexamined(fields));
    return { fields, fault, bodyLength, meaning: undefined };
  }

  /** Those that the last section did not have, which was found legal. */
  private unexamined(fields: Fields): Fields {
    const [last] = this.sections;
    if (last === undefined || last.fault !== undefined) return fields;
    return fields.filter((field, at) => field !== last.fields[at]);
  }
}

function sameFields(known: Fields, fields: readonly Field[], from: number): boolean {
  const { length } = known;
  if (length !== fields.length - from) return false;
  for (let at = length - 1; at >= 0; at--) if (known[at] !== fields[from + at]) return false;
  return true;
}
