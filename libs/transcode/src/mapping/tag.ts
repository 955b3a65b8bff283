import { ScalarType } from '@bufbuild/protobuf';

/** Wire type of a scalar, by section "Message structure" of the protobuf encoding guide. */
export function wireType(type: ScalarType): 0 | 1 | 2 | 5 {
  switch (type) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return 2;
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return 1;
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return 5;
    default:
      return 0;
  }
}

/** The tag before a value: field number and wire type. */
export function tagOf(number: number, type: number): number {
  return ((number << 3) | type) >>> 0;
}
