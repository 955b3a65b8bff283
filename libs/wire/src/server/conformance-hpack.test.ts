/** RFC 7541 as a client can break or use it, by section; appendix C is in `hpack/hpack.test.ts`. */
import { ErrorCode } from '../http2/errors.js';
import * as f from '../testing/frames.js';
import { encoded, GET, tryRules, type Rule, type Rules } from '../testing/rules.fixture.js';

const REQUEST = f.block(GET);
const text = (value: string): number[] => [value.length, ...Buffer.from(value)];
/** `x-test` and `h2spec`, Huffman-coded. */
const X_TEST = [0x85, 0xf2, 0xb2, 0x4a, 0x84, 0xff];
const VALUE = [0x84, 0x9c, 0x48, 0xac, 0xa4];

const taken = (...block: (Uint8Array | readonly number[])[]): Rule => ({ sends: [encoded(...block)], status: '200' });
const broken = (...block: (Uint8Array | readonly number[])[]): Rule => ({
  sends: [encoded(...block)],
  goaway: ErrorCode.COMPRESSION_ERROR,
});

const RULES: Rules = {
  '§2.3.3 index 0': broken([0x80]),
  '§2.3.3 an index beyond the tables': broken([0xff, 0x20]),
  '§2.3.3 a name index beyond the tables': broken(REQUEST, [0x7f, 0x20], text('a')),
  '§4.2 a size update at the end': broken(REQUEST, [0x20]),
  '§4.2 several size updates at the beginning': taken([0x20, 0x3f, 0xe1, 0x1f], REQUEST),
  '§4.3 an entry that a size update has evicted': {
    sends: [
      encoded(REQUEST, [0x40], text('a'), text('b')),
      f.headers(3, GET),
      f.frame(1, 5, 5, Buffer.from([0x20, 0xbe])),
    ],
    goaway: ErrorCode.COMPRESSION_ERROR,
  },
  '§5.1 an integer without end': broken(REQUEST, [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
  '§5.2 a string longer than the block': broken(REQUEST, [0x00, 0x05, 0x61]),
  '§5.2 padding of zeros': broken(REQUEST, [0x00, 0x01, 0x61, 0x81, 0x00]),
  '§5.2 padding of more than 7 bits': broken(REQUEST, [0x00, 0x01, 0x61, 0x82, 0x1f, 0xff]),
  '§5.2 EOS': broken(REQUEST, [0x00, 0x01, 0x61, 0x84, 0xff, 0xff, 0xff, 0xff]),
  '§6.1 an indexed field': taken(REQUEST, [0x90]),
  '§6.2.1 a literal that is indexed, and referred to': taken(REQUEST, [0x40], text('x-a'), text('b'), [0xbe]),
  '§6.2.1 a literal that is indexed, its name too': taken(REQUEST, [0x7a], text('h2')),
  '§6.2.1 a literal that is indexed, Huffman-coded': taken(REQUEST, [0x40], X_TEST, VALUE),
  '§6.2.2 a literal that is not indexed': taken(REQUEST, [0x00], text('x-a'), text('b')),
  '§6.2.2 a literal that is not indexed, Huffman-coded': taken(REQUEST, [0x00], X_TEST, VALUE),
  '§6.2.2 a literal that is not indexed leaves the table empty': broken(
    REQUEST,
    [0x00],
    text('x-a'),
    text('b'),
    [0xbe],
  ),
  '§6.2.3 a literal that is never indexed': taken(REQUEST, [0x10], text('x-a'), text('b')),
  '§6.2.3 a literal that is never indexed, Huffman-coded': taken(REQUEST, [0x10], X_TEST, VALUE),
  '§6.2.3 a literal that is never indexed leaves the table empty': broken(
    REQUEST,
    [0x10],
    text('x-a'),
    text('b'),
    [0xbe],
  ),
  '§6.3 a size update to 0': taken([0x20], REQUEST),
  '§6.3 a size above the setting': broken([0x3f, 0xe2, 0x1f], REQUEST),
};

tryRules('RFC 7541, the server', RULES);
