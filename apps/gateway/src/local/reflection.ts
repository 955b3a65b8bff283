import { create, type DescExtension, type DescFile, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema } from '@bufbuild/protobuf/wkt';
import type { MethodInfo, Schema } from '@sluice/transcode';
import type { OwnCall, OwnMethod } from './grpc-call.js';
import { decode, encode, type Message, type OwnGrpcMethod, ownMethod } from './own-services.js';

const NOT_FOUND = 5;

/** The services that are served of one descriptor set. */
export interface ReflectedServices {
  readonly schema: Schema;
  /** Full names. */
  readonly services: readonly string[];
}

/**
 * gRPC server reflection, v1 and v1alpha (https://github.com/grpc/grpc/blob/master/doc/server-reflection.md): the services that can be
 * called, and the files that declare them, with all that those import.
 */
export function reflectionService(reflected: readonly ReflectedServices[]): OwnGrpcMethod[] {
  const index = new ReflectionIndex(reflected);
  const open =
    (method: MethodInfo): OwnMethod =>
    (answer): OwnCall => ({
      onMessage: (message) => answer.send(index.answer(method, message)),
      onHalfClose: () => answer.end(),
    });
  return ['v1', 'v1alpha'].map((version) =>
    ownMethod(`/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`, open),
  );
}

/** What can be asked for, found at the first question: most gateways are never asked. */
class ReflectionIndex {
  private readonly files = new Map<string, DescFile>();
  private readonly symbols = new Map<string, DescFile>();
  /** By extended message, then by number. */
  private readonly extensions = new Map<string, Map<number, DescExtension>>();
  private readonly encoded = new Map<DescFile, Uint8Array>();
  private built = false;

  constructor(private readonly reflected: readonly ReflectedServices[]) {}

  answer(method: MethodInfo, bytes: Buffer): Uint8Array {
    if (!this.built) this.build();
    const request = decode(method.desc.input, bytes);
    const { messageRequest } = request as { messageRequest: { case?: string; value?: unknown } };
    const answered = this.answerTo(messageRequest);
    const messageResponse = answered ?? {
      case: 'errorResponse',
      value: { errorCode: NOT_FOUND, errorMessage: 'nothing of that name is served here' },
    };
    return encode(method.desc.output, { validHost: request['host'], originalRequest: request, messageResponse });
  }

  private answerTo({ case: asked, value }: { case?: string; value?: unknown }): Message | undefined {
    switch (asked) {
      case 'listServices': {
        const names = this.reflected.flatMap(({ services }) => services);
        return { case: 'listServicesResponse', value: { service: names.sort().map((name) => ({ name })) } };
      }
      case 'fileByFilename':
        return this.filesFrom(this.files.get(value as string));
      case 'fileContainingSymbol':
        return this.filesFrom(this.symbols.get(value as string));
      case 'fileContainingExtension': {
        const { containingType, extensionNumber } = value as { containingType: string; extensionNumber: number };
        return this.filesFrom(this.extensions.get(containingType)?.get(extensionNumber)?.file);
      }
      case 'allExtensionNumbersOfType': {
        const baseTypeName = value as string;
        if (!this.symbols.has(baseTypeName)) return undefined;
        const extensionNumber = [...(this.extensions.get(baseTypeName)?.keys() ?? [])].sort((a, b) => a - b);
        return { case: 'allExtensionNumbersResponse', value: { baseTypeName, extensionNumber } };
      }
      default:
        return undefined;
    }
  }

  /** A file and all that it imports, so that the client need not ask again. */
  private filesFrom(file: DescFile | undefined): Message | undefined {
    if (!file) return undefined;
    const fileDescriptorProto = [...withImports([file])].map((one) => this.bytesOf(one));
    return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
  }

  private bytesOf(file: DescFile): Uint8Array {
    let bytes = this.encoded.get(file);
    if (!bytes) {
      // Comments and places are most of a descriptor, and no client of reflection reads them.
      const { sourceCodeInfo: _, ...rest } = file.proto;
      bytes = toBinary(FileDescriptorProtoSchema, create(FileDescriptorProtoSchema, rest));
      this.encoded.set(file, bytes);
    }
    return bytes;
  }

  /** Where two descriptor sets have a file or a name, that of the first one counts, as of upstreams in the configuration. */
  private build(): void {
    this.built = true;
    for (const { schema, services } of this.reflected) {
      const declaring = services.map((name) => schema.registry.getService(name)!.file);
      const files = withImports(declaring);
      for (const file of files) if (!this.files.has(file.proto.name)) this.files.set(file.proto.name, file);
      for (const type of schema.registry) {
        if (!files.has(type.file)) continue;
        this.addSymbol(type.typeName, type.file);
        if (type.kind === 'service')
          for (const { name } of type.methods) this.addSymbol(`${type.typeName}.${name}`, type.file);
        if (type.kind === 'message') {
          for (const { name } of [...type.fields, ...type.oneofs])
            this.addSymbol(`${type.typeName}.${name}`, type.file);
        }
        if (type.kind === 'enum') {
          // Values are named as if they stood beside their enum.
          const scope = type.typeName.slice(0, type.typeName.lastIndexOf('.') + 1);
          for (const { name } of type.values) this.addSymbol(scope + name, type.file);
        }
        if (type.kind === 'extension') this.addExtension(type);
      }
    }
  }

  private addSymbol(name: string, file: DescFile): void {
    if (!this.symbols.has(name)) this.symbols.set(name, file);
  }

  private addExtension(extension: DescExtension): void {
    const { typeName } = extension.extendee;
    let numbers = this.extensions.get(typeName);
    if (!numbers) this.extensions.set(typeName, (numbers = new Map<number, DescExtension>()));
    if (!numbers.has(extension.number)) numbers.set(extension.number, extension);
  }
}

function withImports(files: readonly DescFile[]): Set<DescFile> {
  const all = new Set<DescFile>();
  const visit = (file: DescFile): void => {
    if (all.has(file)) return;
    all.add(file);
    file.dependencies.forEach(visit);
  };
  files.forEach(visit);
  return all;
}
