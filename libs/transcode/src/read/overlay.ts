import { ScalarType } from '@bufbuild/protobuf';
import type { DescField } from '@bufbuild/protobuf';
import { hasOwnJsonForm } from '../mapping/field.js';
import { TranscodeError, shorten } from '../errors.js';
import type { ProtoWriter } from '../wire/proto-writer.js';

/** A field that text of the path, the query or a form gives a value to. */
export interface TextField {
  /** Fields from the request message down to the one that takes the value. */
  readonly path: readonly DescField[];
  /** The key, when it gives a map one of its values. */
  readonly key?: string;
  /** Writes the field of the innermost message with its tag. @throws TranscodeError without a field name */
  write(w: ProtoWriter, text: string): void;
}

interface Leaf {
  readonly field: TextField;
  readonly text: string;
  /** As the caller wrote it. */
  readonly name: string;
  /** No error repeats the text. */
  readonly hidden: boolean;
}

/**
 * The fields of one message that text outside the JSON body sets. It is merged into what the body says of the same
 * message while that is read, so that each message is written once: receivers that do not merge a message that occurs
 * twice, as protobuf demands, understand it all the same.
 */
export class Overlay {
  readonly leaves: Leaf[] = [];
  /** By field number; most overlays have none. */
  children: Map<number, { desc: DescField; overlay: Overlay }> | undefined;
  /** The first field that is set, and the others. */
  private first: DescField | undefined;
  private others: Set<DescField> | undefined;
  /** Of maps. */
  private keys: Map<DescField, Set<string>> | undefined;
  private oneofs: Map<string, DescField> | undefined;

  /**
   * @param name of the variable or parameter, for messages
   * @param hidden whether messages leave out the text
   * @returns the field that stands in the way: the same one, or another of its oneof
   */
  add(field: TextField, text: string, name: string, hidden = false): DescField | undefined {
    let node: Overlay = this;
    const last = field.path.length - 1;
    for (let i = 0; i < last; i++) {
      const desc = field.path[i]!;
      if (node.sets(desc) && !node.children?.has(desc.number)) return desc;
      const other = node.claim(desc, true);
      if (other) return other;
      const children = (node.children ??= new Map());
      let child = children.get(desc.number);
      if (!child) children.set(desc.number, (child = { desc, overlay: new Overlay() }));
      node = child.overlay;
    }
    const leaf = field.path[last]!;
    const other = node.claim(leaf, leaf.fieldKind === 'list' || field.key !== undefined);
    if (other) return other;
    if (field.key !== undefined && !node.addKey(leaf, field.key)) return leaf;
    node.leaves.push({ field, text, name, hidden });
    return undefined;
  }

  /** The field that keeps `desc` from being set besides, if any. */
  conflict(desc: DescField): DescField | undefined {
    const isWhole = !this.children?.has(desc.number) || (desc.message && hasOwnJsonForm(desc.message));
    if (isWhole && this.sets(desc)) return desc;
    const member = desc.oneof && this.oneofs?.get(desc.oneof.name);
    return member === desc ? undefined : member;
  }

  /** @returns false when the map has the key already */
  private addKey(map: DescField, key: string): boolean {
    let keys = (this.keys ??= new Map<DescField, Set<string>>()).get(map);
    if (!keys) this.keys.set(map, (keys = new Set()));
    const before = keys.size;
    return keys.add(key).size > before;
  }

  private claim(desc: DescField, again: boolean): DescField | undefined {
    if (!again && this.sets(desc)) return desc;
    if (desc.oneof) {
      const member = this.oneofs?.get(desc.oneof.name);
      if (member && member !== desc) return member;
      (this.oneofs ??= new Map()).set(desc.oneof.name, desc);
    }
    if (this.first === undefined) this.first = desc;
    else (this.others ??= new Set()).add(desc);
    return undefined;
  }

  private sets(desc: DescField): boolean {
    return this.first === desc || this.others?.has(desc) === true;
  }

  /** Writes everything. @param except number of a child that the body has written already */
  write(w: ProtoWriter, except: ReadonlySet<number> | undefined): void {
    for (const leaf of this.leaves) writeLeaf(w, leaf);
    if (this.children === undefined) return;
    for (const [number, { desc, overlay }] of this.children) {
      if (except?.has(number)) continue;
      writeNested(w, desc, () => overlay.write(w, undefined));
    }
  }
}

function writeLeaf(w: ProtoWriter, { field, text, name, hidden }: Leaf): void {
  try {
    field.write(w, text);
  } catch (error) {
    if (!(error instanceof TranscodeError)) throw error;
    const reason = hidden ? `its value is no ${typeName(field.path.at(-1)!)}` : error.message;
    throw new TranscodeError('INVALID_VALUE', `"${shorten(name)}": ${reason}`, shorten(name));
  }
}

function typeName(desc: DescField): string {
  if (desc.fieldKind === 'map') return 'entry of the map';
  return desc.message?.typeName ?? desc.enum?.typeName ?? ScalarType[desc.scalar!].toLowerCase();
}

/** Writes a singular message field: tag, length and content, or a group. */
export function writeNested(w: ProtoWriter, desc: DescField, content: () => void): void {
  if (desc.fieldKind === 'message' && desc.delimitedEncoding) {
    w.varint32(((desc.number << 3) | 3) >>> 0);
    content();
    w.varint32(((desc.number << 3) | 4) >>> 0);
  } else {
    w.varint32(((desc.number << 3) | 2) >>> 0);
    const start = w.open();
    content();
    w.close(start);
  }
}
