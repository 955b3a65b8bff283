import type { DescExtension, DescMessage, FileRegistry } from '@bufbuild/protobuf';
import { extensionsOf } from '../schema.js';
import { fieldIndex } from './field-index.js';
import { compileFieldPrinter } from './field-printer.js';
import type { FieldPrinter } from './field-printer.js';
import type { JsonWriter } from './json-writer.js';
import { wellKnownPrinter } from './well-known.js';
import type { FieldIndex, WireMessage } from './wire-message.js';

/** How messages are printed; see `JsonOptions`. */
export interface PrintOptions {
  readonly printDefaults: boolean;
  readonly enumNumbers: boolean;
  readonly protoNames: boolean;
}

/** Prints the message between two offsets as a JSON value. */
export interface MessagePrinter {
  print(m: WireMessage, out: JsonWriter, start: number, end: number): void;
}

/** Compiles printers on demand and keeps one per message type. */
export class MessagePrinters {
  private readonly compiled = new Map<DescMessage, MessagePrinter>();
  private readonly extensions: ReadonlyMap<string, DescExtension[]>;

  constructor(
    readonly registry: FileRegistry,
    readonly options: PrintOptions,
  ) {
    this.extensions = extensionsOf(registry);
  }

  of(desc: DescMessage): MessagePrinter {
    let printer = this.compiled.get(desc);
    if (!printer) {
      printer = wellKnownPrinter(desc, this) ?? new ObjectPrinter(desc, this);
      this.compiled.set(desc, printer);
    }
    return printer;
  }

  extensionsOf(desc: DescMessage): readonly DescExtension[] {
    return this.extensions.get(desc.typeName) ?? [];
  }
}

interface Compiled {
  readonly index: FieldIndex;
  readonly fields: readonly FieldPrinter[];
}

/** Messages that are JSON objects with a member per field, in the order of the field numbers. */
export class ObjectPrinter implements MessagePrinter {
  private compiled: Compiled | undefined;

  constructor(
    private readonly desc: DescMessage,
    private readonly printers: MessagePrinters,
  ) {}

  print(m: WireMessage, out: JsonWriter, start: number, end: number): void {
    out.byte(0x7b);
    this.printMembers(m, out, start, end, true);
    out.byte(0x7d);
  }

  /** @param first whether nothing stands before the members in the object */
  printMembers(m: WireMessage, out: JsonWriter, start: number, end: number, first: boolean): void {
    const { index, fields } = (this.compiled ??= this.compile());
    const frame = m.enter(index, start, end);
    for (let position = 0; position < fields.length; position++) {
      const field = fields[position]!;
      const occurrence = m.first(frame, position);
      if (occurrence === 0 || field.isDefault?.(m, occurrence)) {
        if (field.absent === undefined) continue;
        if (!first) out.byte(0x2c);
        out.raw(field.absent);
      } else {
        const before = out.pos;
        if (!first) out.byte(0x2c);
        out.raw(field.prefix);
        const start = out.pos;
        field.print(m, out, occurrence);
        if (field.omitsEmpty && out.pos === start + 2) {
          out.pos = before;
          continue;
        }
      }
      first = false;
    }
    m.leave(frame);
  }

  private compile(): Compiled {
    const extensions = this.printers.extensionsOf(this.desc);
    const fields = [...this.desc.fields, ...extensions].sort((a, b) => a.number - b.number);
    return { index: fieldIndex(fields), fields: fields.map((field) => compileFieldPrinter(field, this.printers)) };
  }
}
