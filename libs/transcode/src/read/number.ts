import { ScalarType } from '@bufbuild/protobuf';

/**
 * The whole number that a JSON number denotes, exactly: `1.0` and `1e3` are whole. A number when it is certainly exact
 * as one, else a bigint.
 * @param integral whether the text has neither fraction nor exponent
 * @returns NaN when it is not whole, an infinity when it has more than 20 digits
 */
export function wholeNumber(buf: Buffer, start: number, stop: number, integral: boolean): number | bigint {
  if (integral && stop - start <= 15) {
    const negative = buf[start] === 0x2d;
    let value = 0;
    for (let i = negative ? start + 1 : start; i < stop; i++) value = value * 10 + (buf[i]! - 0x30);
    return negative ? -value : value;
  }
  const parts = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(buf.toString('latin1', start, stop))!;
  const [, sign, whole = '', fraction = '', exponent = '0'] = parts;
  const digits = (whole + fraction).replace(/^0+/, '');
  if (digits === '') return 0;
  const significant = digits.replace(/0+$/, '');
  // Zeros after the significant digits; an exponent too long for a double is an infinity, which the bounds refuse.
  const zeros = Number(exponent) - fraction.length + digits.length - significant.length;
  if (zeros < 0) return NaN;
  if (significant.length + zeros > 20) return sign === '-' ? -Infinity : Infinity;
  return BigInt(sign + significant + '0'.repeat(zeros));
}

/** Least and greatest value of each integer type. */
export const integerRange: Readonly<Partial<Record<ScalarType, readonly [number | bigint, number | bigint]>>> = {
  [ScalarType.INT32]: [-0x80000000, 0x7fffffff],
  [ScalarType.SINT32]: [-0x80000000, 0x7fffffff],
  [ScalarType.SFIXED32]: [-0x80000000, 0x7fffffff],
  [ScalarType.UINT32]: [0, 0xffffffff],
  [ScalarType.FIXED32]: [0, 0xffffffff],
  [ScalarType.INT64]: [-0x8000000000000000n, 0x7fffffffffffffffn],
  [ScalarType.SINT64]: [-0x8000000000000000n, 0x7fffffffffffffffn],
  [ScalarType.SFIXED64]: [-0x8000000000000000n, 0x7fffffffffffffffn],
  [ScalarType.UINT64]: [0, 0xffffffffffffffffn],
  [ScalarType.FIXED64]: [0, 0xffffffffffffffffn],
};
