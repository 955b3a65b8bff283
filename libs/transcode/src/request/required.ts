import { legacyRequired } from '../mapping/field.js';
import type { DescMessage } from '@bufbuild/protobuf';
import { TranscodeError } from '../errors.js';
import { fieldIndex } from '../print/field-index.js';
import { WireMessage } from '../print/wire-message.js';
import type { FieldIndex } from '../print/wire-message.js';

const depthMax = 1000;

/** Checks that a message has its proto2 required fields; `undefined` when none can be required. */
export function requiredChecker(input: DescMessage): ((message: Uint8Array) => void) | undefined {
  if (!reachesRequired(input, new Set())) return undefined;
  const indexes = new Map<DescMessage, FieldIndex>();
  return (message) => {
    const m = new WireMessage();
    m.reset(message, depthMax);
    check(m, indexes, input, 0, message.length, '');
  };
}

function reachesRequired(desc: DescMessage, seen: Set<DescMessage>): boolean {
  if (seen.has(desc)) return false;
  seen.add(desc);
  return desc.fields.some(
    (field) => field.presence === legacyRequired || (field.message && reachesRequired(field.message, seen)),
  );
}

function check(
  m: WireMessage,
  indexes: Map<DescMessage, FieldIndex>,
  desc: DescMessage,
  start: number,
  end: number,
  path: string,
): void {
  let index = indexes.get(desc);
  if (!index) indexes.set(desc, (index = fieldIndex(desc.fields)));
  const frame = m.enter(index, start, end);
  desc.fields.forEach((field, position) => {
    const first = m.first(frame, position);
    const name = path + field.jsonName;
    if (first === 0 && field.presence === legacyRequired) {
      throw new TranscodeError('MISSING_FIELD', `"${name}" is required`, name);
    }
    if (!field.message || field.fieldKind === 'map') return;
    for (let at = first; at !== 0; at = m.next(at))
      check(m, indexes, field.message, m.start(at), m.end(at), `${name}.`);
  });
  m.leave(frame);
}
