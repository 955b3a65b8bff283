import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Field } from '../fields.js';
import { CompressionError } from './compression-error.js';
import { Decoder } from './decoder.js';
import { FIELD_OCTETS_EXTRA, writeField } from './encoder.js';
import { huffmanDecode, huffmanEncode, huffmanLength } from './huffman.js';
import { readInteger, writeInteger } from './integer.js';

const bytes = (hex: string): Buffer => Buffer.from(hex.replace(/\s/g, ''), 'hex');

function decode(decoder: Decoder, block: Buffer, listBytesMax = Infinity): Field[] {
  const fields: Field[] = [];
  decoder.decode(block, 0, block.length, fields, listBytesMax);
  return fields;
}

const cursor = (octets: Uint8Array): { bytes: Uint8Array; at: number; end: number } => ({
  bytes: octets,
  at: 0,
  end: octets.length,
});

describe('RFC 7541 §5.1 integers', () => {
  it('reads and writes the examples of appendix C.1', () => {
    expect(readInteger(cursor(bytes('0a')), 5)).toBe(10);
    expect(readInteger(cursor(bytes('1f9a0a')), 5)).toBe(1337);
    expect(readInteger(cursor(bytes('2a')), 8)).toBe(42);
    const target = Buffer.alloc(3);
    expect(writeInteger(target, 0, 0, 5, 1337)).toBe(3);
    expect(target).toEqual(bytes('1f9a0a'));
  });

  it('reads back whatever it writes', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 28 }), fc.integer({ min: 1, max: 8 }), (value, prefix) => {
        const target = Buffer.alloc(8);
        const end = writeInteger(target, 0, 0, prefix, value);
        expect(readInteger(cursor(target.subarray(0, end)), prefix)).toBe(value);
      }),
    );
  });

  it('refuses one without end, and one that is cut', () => {
    expect(() => readInteger(cursor(bytes('ff80808080808080')), 7)).toThrow(CompressionError);
    expect(() => readInteger(cursor(bytes('ff80')), 7)).toThrow(CompressionError);
  });
});

describe('RFC 7541 §5.2 Huffman', () => {
  it('knows the strings of appendix C.4 and C.6', () => {
    for (const [text, hex] of [
      ['www.example.com', 'f1e3c2e5f23a6ba0ab90f4ff'],
      ['no-cache', 'a8eb10649cbf'],
      ['custom-value', '25a849e95bb8e8b4bf'],
      ['302', '6402'],
      ['private', 'aec3771a4b'],
      ['Mon, 21 Oct 2013 20:13:21 GMT', 'd07abe941054d444a8200595040b8166e082a62d1bff'],
      ['https://www.example.com', '9d29ad171863c78f0b97c8e9ae82ae43d3'],
      [
        'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
        '94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
      ],
    ] as const) {
      const coded = bytes(hex);
      expect(huffmanDecode(coded, 0, coded.length)).toBe(text);
      const target = Buffer.alloc(huffmanLength(text));
      expect(huffmanEncode(text, target, 0)).toBe(coded.length);
      expect(target).toEqual(coded);
    }
  });

  it('reads back whatever it writes, every octet included', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
        const text = Buffer.from(octets).toString('latin1');
        const target = Buffer.alloc(huffmanLength(text));
        huffmanEncode(text, target, 0);
        expect(huffmanDecode(target, 0, target.length)).toBe(text);
      }),
    );
  });

  it('refuses EOS, padding of zeros and padding of eight bits', () => {
    expect(() => huffmanDecode(bytes('ffffffff'), 0, 4)).toThrow(CompressionError);
    expect(() => huffmanDecode(bytes('00'), 0, 1)).toThrow(CompressionError);
    expect(() => huffmanDecode(bytes('6402ff'), 0, 3)).toThrow(CompressionError);
  });
});

/** Appendix C: blocks of one connection in order, and what they mean. */
const REQUESTS: Field[][] = [
  [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'www.example.com'],
  ],
  [
    [':method', 'GET'],
    [':scheme', 'http'],
    [':path', '/'],
    [':authority', 'www.example.com'],
    ['cache-control', 'no-cache'],
  ],
  [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/index.html'],
    [':authority', 'www.example.com'],
    ['custom-key', 'custom-value'],
  ],
];
const DATES = ['Mon, 21 Oct 2013 20:13:21 GMT', 'Mon, 21 Oct 2013 20:13:22 GMT'];
const RESPONSES: Field[][] = [
  [
    [':status', '302'],
    ['cache-control', 'private'],
    ['date', DATES[0]!],
    ['location', 'https://www.example.com'],
  ],
  [
    [':status', '307'],
    ['cache-control', 'private'],
    ['date', DATES[0]!],
    ['location', 'https://www.example.com'],
  ],
  [
    [':status', '200'],
    ['cache-control', 'private'],
    ['date', DATES[1]!],
    ['location', 'https://www.example.com'],
    ['content-encoding', 'gzip'],
    ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'],
  ],
];
const VECTORS: { name: string; tableSize?: number; blocks: string[]; lists: Field[][] }[] = [
  {
    name: 'C.2.1 literal with indexing',
    blocks: ['400a637573746f6d2d6b65790d637573746f6d2d686561646572'],
    lists: [[['custom-key', 'custom-header']]],
  },
  {
    name: 'C.2.2 literal without indexing',
    blocks: ['040c2f73616d706c652f70617468'],
    lists: [[[':path', '/sample/path']]],
  },
  {
    name: 'C.2.3 literal never indexed',
    blocks: ['100870617373776f726406736563726574'],
    lists: [[['password', 'secret']]],
  },
  { name: 'C.2.4 indexed', blocks: ['82'], lists: [[[':method', 'GET']]] },
  {
    name: 'C.3 requests without Huffman',
    blocks: [
      '828684410f7777772e6578616d706c652e636f6d',
      '828684be58086e6f2d6361636865',
      '828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565',
    ],
    lists: REQUESTS,
  },
  {
    name: 'C.4 requests with Huffman',
    blocks: [
      '828684418cf1e3c2e5f23a6ba0ab90f4ff',
      '828684be5886a8eb10649cbf',
      '828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf',
    ],
    lists: REQUESTS,
  },
  {
    name: 'C.5 responses without Huffman, table of 256',
    tableSize: 256,
    blocks: [
      '4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d',
      '4803333037c1c0bf',
      '88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31',
    ],
    lists: RESPONSES,
  },
  {
    name: 'C.6 responses with Huffman, table of 256',
    tableSize: 256,
    blocks: [
      '488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3',
      '4883640effc1c0bf',
      '88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007',
    ],
    lists: RESPONSES,
  },
];

describe('RFC 7541 appendix C', () => {
  for (const { name, tableSize, blocks, lists } of VECTORS) {
    it(`${name}`, () => {
      const decoder = new Decoder();
      // The appendix assumes a table of 256 from outside; here it is said by a size update of its own.
      if (tableSize !== undefined) {
        const update = Buffer.alloc(4);
        decode(decoder, update.subarray(0, writeInteger(update, 0, 0x20, 5, tableSize)));
      }
      expect(blocks.map((hex) => decode(decoder, bytes(hex)))).toEqual(lists);
    });
  }
});

describe('the decoder', () => {
  const text = fc.string({ unit: 'binary-ascii', maxLength: 40 });

  it('reads back whatever the encoder writes', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text), { maxLength: 20 }), (fields) => {
        const target = Buffer.alloc(fields.reduce((sum, [n, v]) => sum + n.length + v.length + FIELD_OCTETS_EXTRA, 0));
        let at = 0;
        for (const [name, value] of fields) at = writeField(target, at, name, value);
        expect(decode(new Decoder(), target.subarray(0, at))).toEqual(fields);
      }),
    );
  });

  it('never does more than throw CompressionError, whatever it is given', () => {
    const decoder = new Decoder();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (octets) => {
        try {
          decode(decoder, Buffer.from(octets), 16_384);
        } catch (error) {
          expect(error).toBeInstanceOf(CompressionError);
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('§2.3.3: refuses index 0 and indexes beyond the tables', () => {
    expect(() => decode(new Decoder(), bytes('80'))).toThrow(CompressionError);
    expect(() => decode(new Decoder(), bytes('be'))).toThrow(CompressionError);
  });

  it('§4.2: refuses a size update above the setting, or after the first field', () => {
    expect(() => decode(new Decoder(), bytes('3fe21f'))).toThrow(CompressionError);
    expect(() => decode(new Decoder(), bytes('8220'))).toThrow(CompressionError);
  });

  it('RFC 9113 §4.3.1: requires the size update once a smaller setting is acknowledged', () => {
    const decoder = new Decoder();
    expect(decode(decoder, bytes('400161017a'))).toEqual([['a', 'z']]);
    decoder.acknowledge(0);
    expect(decoder.awaitsUpdate).toBe(true);
    expect(() => decode(decoder, bytes('82'))).toThrow(CompressionError);
    expect(decode(decoder, bytes('2082'))).toEqual([[':method', 'GET']]);
    expect(decoder.awaitsUpdate).toBe(false);
    expect(() => decode(decoder, bytes('be'))).toThrow(CompressionError);
    expect(() => decode(decoder, bytes('3fe11f82'))).toThrow(CompressionError);
  });

  it('§4.4: an entry larger than the table empties it', () => {
    const decoder = new Decoder();
    decode(decoder, bytes('3f01400161017a')); // 32: too small for any entry with text
    expect(() => decode(decoder, bytes('be'))).toThrow(CompressionError);
  });

  it('drops what lies beyond the list limit, and still keeps its table', () => {
    const decoder = new Decoder();
    const big = Buffer.concat([bytes('40016178'), Buffer.alloc(0x78, 0x62)]);
    const fields: Field[] = [];
    const bomb = Buffer.concat([big, Buffer.alloc(1000, 0xbe)]);
    expect(decoder.decode(bomb, 0, bomb.length, fields, 1000)).toBe(1001 * (1 + 0x78 + 32));
    expect(fields.length).toBe(6);
    expect(decode(decoder, bytes('be'))).toEqual([['a', 'b'.repeat(0x78)]]);
  });
});
