import type { DescMessage } from '@bufbuild/protobuf';
import { isWrapperDesc } from '@bufbuild/protobuf/wkt';

/** Values of `google.protobuf.FeatureSet.FieldPresence` as descriptors have them. */
export const implicitPresence = 2;
export const legacyRequired = 3;

/** The enum whose only value is JSON null. */
export const nullEnum = 'google.protobuf.NullValue';

/** Whether a message is read from and printed as something else than an object with a member per field. */
export function hasOwnJsonForm(desc: DescMessage): boolean {
  switch (desc.typeName) {
    case 'google.protobuf.Any':
    case 'google.protobuf.Timestamp':
    case 'google.protobuf.Duration':
    case 'google.protobuf.FieldMask':
    case 'google.protobuf.Struct':
    case 'google.protobuf.ListValue':
    case 'google.protobuf.Value':
      return true;
    default:
      return isWrapperDesc(desc);
  }
}
