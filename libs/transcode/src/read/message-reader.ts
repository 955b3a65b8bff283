import type { DescExtension, DescField, DescMessage, FileRegistry } from '@bufbuild/protobuf';
import { extensionsOf } from '../schema.js';
import { shorten } from '../errors.js';
import type { ProtoWriter } from '../wire/proto-writer.js';
import { compileFieldReader } from './field-reader.js';
import type { JsonScanner } from './json-scanner.js';
import { NameTable } from './name-table.js';
import type { Overlay } from './overlay.js';
import { wellKnownReader } from './well-known.js';

/** Reads one JSON value as a message and writes the message's fields, without tag and length around them. */
export interface MessageReader {
  /** Whether JSON null is a value of this type and not the absence of one. */
  readonly readsNull: boolean;
  /** @param overlay fields that are set from outside the JSON text */
  read(s: JsonScanner, w: ProtoWriter, overlay?: Overlay): void | false;
}

/** Compiles readers on demand and keeps one per message type. */
export class MessageReaders {
  private readonly compiled = new Map<DescMessage, MessageReader>();
  private readonly extensions: ReadonlyMap<string, DescExtension[]>;

  /** @param ignoreUnknown pass over members and names of enum values that the schema does not have, as protobuf's parsers can */
  constructor(
    readonly registry: FileRegistry,
    readonly ignoreUnknown = false,
  ) {
    this.extensions = extensionsOf(registry);
  }

  of(desc: DescMessage): MessageReader {
    let reader = this.compiled.get(desc);
    if (!reader) {
      reader = wellKnownReader(desc, this) ?? new ObjectReader(desc, this);
      this.compiled.set(desc, reader);
    }
    return reader;
  }

  /** The fields of a message, and the extensions that the schema knows for it. */
  fieldsOf(desc: DescMessage): (DescField | DescExtension)[] {
    return [...desc.fields, ...(this.extensions.get(desc.typeName) ?? [])];
  }
}

/** How an object reader treats one of its members. */
interface Member {
  readonly name: string;
  readonly desc: DescField | DescExtension;
  /** Bit in the record of what was seen. */
  readonly mark: number;
  /** Bit of its oneof, or -1. */
  readonly oneofMark: number;
  readonly readsNull: boolean;
  readonly read: (s: JsonScanner, w: ProtoWriter, overlay?: Overlay) => void | false;
}

/** Messages that are JSON objects with a member per field. */
export class ObjectReader implements MessageReader {
  readonly readsNull = false;
  private members: NameTable<Member> | undefined;

  constructor(
    private readonly desc: DescMessage,
    private readonly readers: MessageReaders,
  ) {}

  read(s: JsonScanner, w: ProtoWriter, overlay?: Overlay): void {
    this.readMembers(s, w, overlay, false);
  }

  /** @param inAny pass over `@type`, which the caller has looked at */
  readMembers(s: JsonScanner, w: ProtoWriter, overlay: Overlay | undefined, inAny: boolean): void {
    const members = (this.members ??= this.compile());
    // What was seen, by mark: the first 31 in one number, which suffices for almost all messages.
    let seen = 0;
    let more: Set<number> | undefined;
    let written: Set<number> | undefined;
    let typeSeen = false;
    if (s.enter(0x7b)) {
      do {
        s.peek();
        const at = s.pos;
        s.name();
        const member = s.escaped ? members.get(s.text()) : members.find(s.buf, s.start, s.stop, s.hash);
        if (member === undefined) {
          if (!inAny || s.text() !== '@type') {
            if (!this.readers.ignoreUnknown) this.failUnknown(s, at);
            s.discard();
            continue;
          }
          if (typeSeen) s.fail('DUPLICATE_FIELD', '"@type" occurs twice', at);
          typeSeen = true;
          s.skipValue();
          continue;
        }
        const { mark } = member;
        if (mark < 31) {
          const bit = 1 << mark;
          if (seen & bit) this.failTwice(s, member, at);
          seen |= bit;
        } else {
          more ??= new Set();
          if (more.has(mark)) this.failTwice(s, member, at);
          more.add(mark);
        }
        if (!member.readsNull && s.null()) continue;
        if (member.oneofMark >= 0) {
          more ??= new Set();
          if (more.has(member.oneofMark)) this.failOneof(s, member, at);
          more.add(member.oneofMark);
        }
        if (overlay === undefined) {
          member.read(s, w);
        } else {
          this.checkOverlay(s, overlay, member, at);
          const child = overlay.children?.get(member.desc.number);
          if (child) (written ??= new Set()).add(member.desc.number);
          member.read(s, w, child?.overlay);
        }
      } while (s.next(0x7d));
    }
    overlay?.write(w, written);
  }

  private compile(): NameTable<Member> {
    const fields = this.readers.fieldsOf(this.desc);
    const oneofs = [...new Set(fields.map((field) => field.oneof?.name))];
    const names = fields.flatMap((desc, mark): [string, Member][] => {
      const { read, readsNull } = compileFieldReader(desc, this.readers);
      const oneofMark = desc.oneof ? fields.length + oneofs.indexOf(desc.oneof.name) : -1;
      const member = { name: desc.jsonName, desc, mark, oneofMark, readsNull, read };
      return desc.kind === 'extension'
        ? [[`[${desc.typeName}]`, member]]
        : [
            [desc.jsonName, member],
            [desc.name, member],
          ];
    });
    return new NameTable(names);
  }

  private failUnknown(s: JsonScanner, at: number): never {
    return s.fail('UNKNOWN_FIELD', `${this.desc.typeName} has no field "${shorten(s.text())}"`, at, s.stop + 1);
  }

  private failTwice(s: JsonScanner, member: Member, at: number): never {
    return s.fail('DUPLICATE_FIELD', `"${member.name}" occurs twice`, at, s.stop + 1);
  }

  private failOneof(s: JsonScanner, member: Member, at: number): never {
    const oneof = member.desc.oneof!;
    const names = oneof.fields.map((field) => field.jsonName).join(', ');
    return s.fail('DUPLICATE_FIELD', `only one of ${shorten(names, 200)} may be set`, at, s.pos);
  }

  private checkOverlay(s: JsonScanner, overlay: Overlay, member: Member, at: number): void {
    const { desc } = member;
    const other = desc.kind === 'field' ? overlay.conflict(desc) : undefined;
    if (!other) return;
    const reason =
      other === desc ? 'the path sets this field already' : `the path sets ${other.jsonName}, of the same oneof`;
    s.fail('DUPLICATE_FIELD', reason, at, s.pos);
  }
}
