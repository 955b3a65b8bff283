import { describe, expect, it } from 'vitest';
import { boolArray, int4Array, int8Array, textArray } from './array-bytes.js';

describe('arrays in the binary form', () => {
  it('writes header, lengths and values', () => {
    expect(int4Array([1, -2]).toString('hex')).toBe(
      '00000001' +
        '00000000' +
        '00000017' +
        '00000002' +
        '00000001' +
        '00000004' +
        '00000001' +
        '00000004' +
        'fffffffe',
    );
    expect(int8Array(['9223372036854775807']).toString('hex').slice(24)).toBe(
      '00000001' + '00000001' + '00000008' + '7fffffffffffffff',
    );
    expect(boolArray([true, false]).toString('hex').slice(40)).toBe('0000000101' + '0000000100');
    expect(textArray(['a', '', 'é"\\,{}']).toString('hex').slice(40)).toBe(
      '0000000161' + '00000000' + '00000007' + 'c3a9225c2c7b7d',
    );
  });

  it('writes an empty array without a dimension', () => {
    expect(textArray([]).toString('hex')).toBe('00000000' + '00000000' + '00000019');
  });
});
