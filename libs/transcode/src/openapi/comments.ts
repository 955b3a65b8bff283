import type {
  DescEnum,
  DescEnumValue,
  DescField,
  DescFile,
  DescMessage,
  DescMethod,
  DescService,
} from '@bufbuild/protobuf';

type Commented = DescMessage | DescField | DescEnum | DescEnumValue | DescService | DescMethod;

const byFile = new WeakMap<DescFile, Map<string, string>>();

/** The comment of an element in its proto file, when the descriptor set has them; lines for linters are left out. */
export function commentOf(desc: Commented): string {
  const file = fileOf(desc);
  let comments = byFile.get(file);
  if (!comments) byFile.set(file, (comments = commentsOf(file)));
  return comments.get(pathOf(desc).join('.')) ?? '';
}

function commentsOf(file: DescFile): Map<string, string> {
  const comments = new Map<string, string>();
  for (const { path, leadingComments, trailingComments } of file.proto.sourceCodeInfo?.location ?? []) {
    const lines = (leadingComments || trailingComments).split('\n').map((line) => line.trim());
    const text = lines.filter((line) => !line.startsWith('buf:lint:')).join('\n');
    if (text.trim() !== '') comments.set(path.join('.'), text.trim());
  }
  return comments;
}

function fileOf(desc: Commented): DescFile {
  switch (desc.kind) {
    case 'message':
    case 'enum':
    case 'service':
      return desc.file;
    case 'field':
    case 'enum_value':
    case 'rpc':
      return desc.parent.file;
  }
}

/** Field numbers and indexes within `FileDescriptorProto`, as `SourceCodeInfo.Location` has them. */
function pathOf(desc: Commented): number[] {
  switch (desc.kind) {
    case 'message':
      return desc.parent
        ? [...pathOf(desc.parent), 3, desc.parent.proto.nestedType.indexOf(desc.proto)]
        : [4, desc.file.proto.messageType.indexOf(desc.proto)];
    case 'enum':
      return desc.parent
        ? [...pathOf(desc.parent), 4, desc.parent.proto.enumType.indexOf(desc.proto)]
        : [5, desc.file.proto.enumType.indexOf(desc.proto)];
    case 'service':
      return [6, desc.file.proto.service.indexOf(desc.proto)];
    case 'field':
      return [...pathOf(desc.parent), 2, desc.parent.proto.field.indexOf(desc.proto)];
    case 'enum_value':
      return [...pathOf(desc.parent), 2, desc.parent.proto.value.indexOf(desc.proto)];
    case 'rpc':
      return [...pathOf(desc.parent), 2, desc.parent.proto.method.indexOf(desc.proto)];
  }
}
