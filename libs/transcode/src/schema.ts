import { createFileRegistry, fromBinary, getExtension, hasExtension, toJson } from '@bufbuild/protobuf';
import type { DescExtension, DescMethod, FileRegistry, JsonValue, Message } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { FileDescriptorSetSchema, MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import type { FileDescriptorProto, FileDescriptorSet } from '@bufbuild/protobuf/wkt';
import { SchemaError } from './errors.js';

export type MethodKind = 'unary' | 'server_stream' | 'client_stream' | 'bidi';

/** A method of a loaded schema. */
export interface MethodInfo {
  /** Full name of the service: `pkg.Service`. */
  readonly service: string;
  /** Name within the service: `Method`. */
  readonly name: string;
  /** gRPC path: `/pkg.Service/Method`. */
  readonly path: string;
  readonly kind: MethodKind;
  /** As declared by `idempotency_level`; `unknown` when not. */
  readonly idempotency: 'unknown' | 'no_side_effects' | 'idempotent';
  /** Name of the proto file that declares it. */
  readonly file: string;
  readonly desc: DescMethod;
}

/** A descriptor set, read and linked. */
export interface Schema {
  /** Where it came from, for messages to the operator. */
  readonly origin: string;
  readonly registry: FileRegistry;
  /** Every method by its gRPC path. */
  readonly methods: ReadonlyMap<string, MethodInfo>;
  /** Full names of services that are in the set only because a file imports theirs: nobody asked for them. */
  readonly importedServices: ReadonlySet<string>;
}

const kinds = {
  unary: 'unary',
  server_streaming: 'server_stream',
  client_streaming: 'client_stream',
  bidi_streaming: 'bidi',
} as const;

const idempotencies = {
  [MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN]: 'unknown',
  [MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS]: 'no_side_effects',
  [MethodOptions_IdempotencyLevel.IDEMPOTENT]: 'idempotent',
} as const;

/**
 * Reads a serialized `google.protobuf.FileDescriptorSet`, as `buf build -o` and `protoc --include_imports
 * --descriptor_set_out` write it.
 * @param origin the file's name, for messages
 * @throws SchemaError when the bytes are not a descriptor set, or files they import are missing
 */
export function loadSchema(fileDescriptorSet: Uint8Array, origin: string): Schema {
  let set: FileDescriptorSet;
  try {
    set = fromBinary(FileDescriptorSetSchema, fileDescriptorSet);
  } catch (cause) {
    throw new SchemaError(`${origin}: not a protobuf FileDescriptorSet`, { cause });
  }
  if (set.file.length === 0 || set.file.some((file) => file.name === '')) {
    throw new SchemaError(`${origin}: not a protobuf FileDescriptorSet, or an empty one`);
  }
  set.file = importsFirst(set.file, origin);
  let registry: FileRegistry;
  try {
    registry = createFileRegistry(set);
  } catch (cause) {
    throw new SchemaError(`${origin}: ${cause instanceof Error ? cause.message : 'cannot be linked'}`, { cause });
  }
  return { origin, registry, methods: methodsOf(registry), importedServices: importedServices(set.file) };
}

/** `buf.alpha.image.v1.ImageFileExtension` of a file in what `buf build` writes; its field 1 says that the file is an import. */
const BUF_FILE_EXTENSION = 8042;
const IS_IMPORT = 1;

/**
 * What `buf build` marks as imported. `protoc` marks nothing: there it is the files that others import, unless they belong to the
 * package of one that no other imports.
 */
function importedServices(files: readonly FileDescriptorProto[]): ReadonlySet<string> {
  const marks = new Map(files.map((file) => [file, bufImport(file)]));
  const isMarked = files.some((file) => marks.get(file) !== undefined);
  const imports = new Set(files.flatMap(({ dependency }) => dependency));
  const ownPackages = new Set(files.filter(({ name }) => !imports.has(name)).map((file) => file.package));
  const imported = files.filter((file) =>
    isMarked ? marks.get(file) === true : imports.has(file.name) && !ownPackages.has(file.package),
  );
  return new Set(
    imported.flatMap((file) => file.service.map(({ name }) => (file.package ? `${file.package}.${name}` : name))),
  );
}

/** Whether `buf build` says that the file is an import; undefined when it says nothing of it. */
function bufImport(file: FileDescriptorProto): boolean | undefined {
  const extension = file.$unknown?.find(({ no }) => no === BUF_FILE_EXTENSION);
  if (!extension) return undefined;
  // Unknown fields are kept with the length before their octets.
  const reader = new BinaryReader(new BinaryReader(extension.data).bytes());
  let isImport = false;
  while (reader.pos < reader.len) {
    const [no, type] = reader.tag();
    if (no === IS_IMPORT && type === WireType.Varint) isImport = reader.bool();
    else reader.skip(type, no);
  }
  return isImport;
}

/** The files in an order in which each comes after what it imports; `protoc` promises it, other writers do not. */
function importsFirst(files: FileDescriptorProto[], origin: string): FileDescriptorProto[] {
  const byName = new Map(files.map((file) => [file.name, file]));
  const missing = new Map<string, string>();
  const ordered = new Set<FileDescriptorProto>();
  const open = new Set<FileDescriptorProto>();
  const visit = (file: FileDescriptorProto): void => {
    if (ordered.has(file)) return;
    if (open.has(file)) throw new SchemaError(`${origin}: ${file.name} imports itself`);
    open.add(file);
    for (const name of file.dependency) {
      const imported = byName.get(name);
      if (imported) visit(imported);
      else missing.set(name, file.name);
    }
    open.delete(file);
    ordered.add(file);
  };
  byName.forEach(visit);
  if (missing.size > 0) {
    const list = [...missing].map(([name, importer]) => `${name} (imported by ${importer})`).join(', ');
    throw new SchemaError(
      `${origin}: imports are missing: ${list}. Build it with "buf build -o ${origin}" or "protoc --include_imports"`,
    );
  }
  return [...ordered];
}

function methodsOf(registry: FileRegistry): Map<string, MethodInfo> {
  const methods = new Map<string, MethodInfo>();
  for (const file of registry.files) {
    for (const service of file.services) {
      for (const desc of service.methods) {
        const path = `/${service.typeName}/${desc.name}`;
        methods.set(path, {
          service: service.typeName,
          name: desc.name,
          path,
          kind: kinds[desc.methodKind],
          idempotency: idempotencies[desc.idempotency],
          file: file.proto.name,
          desc,
        });
      }
    }
  }
  return methods;
}

/**
 * A custom option of a method as JSON with proto field names, or `undefined` when the method does not have it.
 * @param extension full name of the extension of `google.protobuf.MethodOptions`, for instance `sluice.access.v1.access`
 */
export function methodOption(schema: Schema, method: MethodInfo, extension: string): JsonValue | undefined {
  const desc = schema.registry.getExtension(extension);
  return desc && optionOf(schema, method.desc.proto.options, desc);
}

function optionOf(schema: Schema, options: Message | undefined, extension: DescExtension): JsonValue | undefined {
  if (!options || !hasExtension(options, extension)) return undefined;
  const value = getExtension(options, extension);
  if (extension.fieldKind !== 'message') return value as JsonValue;
  return toJson(extension.message, value as Message, { useProtoFieldName: true, registry: schema.registry });
}

/** The extensions that a registry knows, by the full name of the message they extend. */
export function extensionsOf(registry: FileRegistry): Map<string, DescExtension[]> {
  const byExtendee = new Map<string, DescExtension[]>();
  for (const type of registry) {
    if (type.kind !== 'extension') continue;
    const list = byExtendee.get(type.extendee.typeName);
    if (list) list.push(type);
    else byExtendee.set(type.extendee.typeName, [type]);
  }
  return byExtendee;
}
