import type { DescField, DescMessage } from '@bufbuild/protobuf';
import type { FlatRule } from '../http/rule.js';
import { fieldIndex } from '../print/field-index.js';
import { compileFieldPrinter } from '../print/field-printer.js';
import { JsonWriter } from '../print/json-writer.js';
import type { MessagePrinter, MessagePrinters } from '../print/message-printer.js';
import { WireMessage } from '../print/wire-message.js';
import type { FieldIndex } from '../print/wire-message.js';
import { fieldsOf } from '../request/request-encoder.js';
import type { Allocate } from '../wire/allocate.js';

// Printing never waits, so one of each serves all responses.
const wire = new WireMessage();
const writer = new JsonWriter();

/** The content of a `google.api.HttpBody`. */
export interface RawBody {
  contentType: string;
  data: Buffer;
}

/** Prints the response messages of one HTTP rule. */
export class ResponseDecoder {
  /** Whether the response is a `google.api.HttpBody`, whose bytes are the body. */
  readonly isRaw: boolean;
  private readonly printer: MessagePrinter;
  private readonly rawIndexes: readonly FieldIndex[];

  /** @throws SchemaError when the response has no such field */
  constructor(
    output: DescMessage,
    rule: FlatRule,
    printers: MessagePrinters,
    private readonly depthMax: number,
    private readonly allocate?: Allocate,
  ) {
    const { responseBody, source } = rule;
    const path = responseBody === '' ? [] : fieldsOf(output, responseBody, `${source}: response_body`);
    const field = path.at(-1);
    const body = field ? (field.fieldKind === 'message' ? field.message : undefined) : output;
    this.isRaw = body?.typeName === 'google.api.HttpBody';
    this.rawIndexes = this.isRaw ? [...path.map((one) => fieldIndex([one])), fieldIndex(body!.fields)] : [];
    this.printer = path.length > 0 ? fieldOnly(path, printers) : printers.of(output);
  }

  /** @throws TranscodeError `INVALID_MESSAGE` */
  json(message: Uint8Array): Buffer {
    try {
      wire.reset(message, this.depthMax);
      this.printer.print(wire, writer, 0, message.length);
      return writer.finish(this.allocate);
    } finally {
      writer.reset();
      wire.release();
    }
  }

  /** @throws TranscodeError `INVALID_MESSAGE` */
  raw(message: Uint8Array): RawBody {
    wire.reset(message, this.depthMax);
    const { buf } = wire;
    let frame = 0;
    let start = 0;
    let end = message.length;
    for (const [level, index] of this.rawIndexes.entries()) {
      frame = wire.enter(index, start, end);
      const inner = wire.first(frame, 0);
      if (level === this.rawIndexes.length - 1) break;
      start = inner === 0 ? 0 : wire.start(inner);
      end = inner === 0 ? 0 : wire.end(inner);
    }
    const slice = (position: number): Buffer => {
      const at = wire.first(frame, position);
      return at === 0 ? Buffer.alloc(0) : buf.subarray(wire.start(at), wire.end(at));
    };
    const contentType = slice(0).toString();
    const data = slice(1);
    wire.release();
    return { contentType: isHeaderValue(contentType) ? contentType : 'application/octet-stream', data };
  }
}

/** A content type that an upstream made up must not break out of its header. */
function isHeaderValue(text: string): boolean {
  return /^[\x21-\x7e][\x20-\x7e]{0,255}$/.test(text);
}

/** Prints the field at the end of a path, as it is when it is absent where a message before it is. */
function fieldOnly([field, ...rest]: readonly DescField[], printers: MessagePrinters): MessagePrinter {
  const index = fieldIndex([field!]);
  const printer = compileFieldPrinter(field!, printers);
  const inner = rest.length > 0 ? fieldOnly(rest, printers) : undefined;
  return {
    print: (m, out, start, end) => {
      const frame = m.enter(index, start, end);
      const at = m.first(frame, 0);
      if (inner) {
        const part = at === 0 ? { start: 0, end: 0, outer: m.buf } : m.merged(at);
        inner.print(m, out, part.start, part.end);
        m.buf = part.outer;
      } else if (at === 0) out.ascii(printer.absentValue);
      else printer.print(m, out, at);
      m.leave(frame);
    },
  };
}
