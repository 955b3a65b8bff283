import type { DescMessage } from '@bufbuild/protobuf';
import { JsonWriter } from './print/json-writer.js';
import { MessagePrinters } from './print/message-printer.js';
import { WireMessage } from './print/wire-message.js';
import { JsonScanner } from './read/json-scanner.js';
import { MessageReaders } from './read/message-reader.js';
import type { Schema } from './schema.js';
import { ProtoWriter } from './wire/proto-writer.js';

/** How messages read and print as JSON. All are off unless set, except `printDefaults`. */
export interface JsonOptions {
  /** Print fields without presence that have their default, and empty lists and maps. On by default. */
  printDefaults?: boolean;
  /** Print enum values as numbers. */
  enumNumbers?: boolean;
  /** Print field names as the proto file has them instead of in lowerCamelCase. Both are always read. */
  protoNames?: boolean;
}

/** Converts one type of message between JSON text and wire format. */
export interface MessageCodec {
  /** @throws TranscodeError with a 4xx status */
  fromJson(text: Uint8Array): Uint8Array;
  /** @throws TranscodeError `INVALID_MESSAGE` */
  toJson(message: Uint8Array): Buffer;
}

/** How many messages protobuf implementations accept within one another by default. */
export const defaultDepthMax = 100;
/** Beyond this the recursion of the codecs could exhaust the stack. */
export const depthLimit = 1000;

/**
 * How deep a message may nest that is printed. Each level of JSON in a `google.protobuf.Struct` is three of messages, and JSON
 * has readers that take a hundred: who can only read JSON shall not lose what an upstream can write.
 */
export function printDepthMax(depthMax: number): number {
  return Math.min(3 * depthMax, depthLimit);
}

/**
 * The codec of a message type outside any HTTP rule, for instance of what an upstream puts into the details of a status.
 * @returns `undefined` when the schema does not have the type
 */
export function messageCodec(schema: Schema, typeName: string, options: JsonOptions = {}): MessageCodec | undefined {
  const desc = schema.registry.getMessage(typeName);
  return desc && messageCodecs(schema, options)(desc);
}

// Converting never waits, so one of each serves all messages.
const scanner = new JsonScanner();
const protoWriter = new ProtoWriter();
const wire = new WireMessage();
const jsonWriter = new JsonWriter();

/**
 * The codecs of all message types of a schema, compiled as they are asked for.
 * @param ignoreUnknown pass over members and names of enum values that the schema does not have
 */
export function messageCodecs(
  schema: Schema,
  options: JsonOptions = {},
  ignoreUnknown = false,
): (desc: DescMessage) => MessageCodec {
  const readers = new MessageReaders(schema.registry, ignoreUnknown);
  const printers = new MessagePrinters(schema.registry, printOptions(options));
  return (desc) => {
    const reader = readers.of(desc);
    const printer = printers.of(desc);
    return {
      fromJson(text) {
        protoWriter.reset();
        scanner.reset(text, defaultDepthMax);
        reader.read(scanner, protoWriter);
        scanner.finish();
        scanner.release();
        return protoWriter.finish();
      },
      toJson(message) {
        jsonWriter.reset();
        wire.reset(message, printDepthMax(defaultDepthMax));
        printer.print(wire, jsonWriter, 0, message.length);
        wire.release();
        return jsonWriter.finish();
      },
    };
  };
}

/** The options with their defaults. */
export function printOptions({ printDefaults, enumNumbers, protoNames }: JsonOptions = {}): Required<JsonOptions> {
  return { printDefaults: printDefaults ?? true, enumNumbers: enumNumbers ?? false, protoNames: protoNames ?? false };
}
