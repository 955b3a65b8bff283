/** RFC 9113 §8: which requests are malformed, by section. */
import type { Fields } from '../fields.js';
import { ErrorCode } from '../http2/errors.js';
import * as f from '../testing/frames.js';
import { get, GET, malformed, post, tryRules, withField, type Rules } from '../testing/rules.fixture.js';

const without = (name: string): Fields => GET.filter((field) => field[0] !== name);

const RULES: Rules = {
  '§8.1 trailers without END_STREAM': { sends: [post(), f.headers(1, [['x', 'y']])], reset: ErrorCode.PROTOCOL_ERROR },
  '§8.1 trailers are taken': { sends: [post(), f.data(1, 'a'), f.headers(1, [['x', 'y']], true)], status: '200' },
  '§8.1 pseudo-fields in trailers': {
    sends: [post(), f.headers(1, [[':method', 'GET']], true)],
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  '§8.1.1 content-length above the body': {
    sends: [post(1, [['content-length', '2']]), f.data(1, 'a', true)],
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  '§8.1.1 content-length below the body': {
    sends: [post(1, [['content-length', '1']]), f.data(1, 'ab')],
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  '§8.1.1 content-length above the body, with trailers': {
    sends: [post(1, [['content-length', '2']]), f.data(1, 'a'), f.headers(1, [], true)],
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  '§8.1.1 content-length without a body': {
    sends: [get(1, [['content-length', '1']])],
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  '§8.1.1 two content-length that differ': withField(['content-length', '0'], ['content-length', '1']),
  '§8.1.1 a content-length that is none': withField(['content-length', '-1']),
  '§8.2 an upper-case name': withField(['X-A', 'b']),
  '§8.2.1 a name with a space': withField(['x a', 'b']),
  '§8.2.1 an empty name': withField(['', 'b']),
  '§8.2.1 a name above 7 bits': withField(['\u00e9', 'b']),
  '§8.2.1 NUL in a value': withField(['x', 'a\0b']),
  '§8.2.1 CR in a value': withField(['x', 'a\rb']),
  '§8.2.1 LF in a value': withField(['x', 'a\nb']),
  '§8.2.1 a value that begins with a space': withField(['x', ' a']),
  '§8.2.1 a value that ends with a tab': withField(['x', 'a\t']),
  '§8.2.2 connection': withField(['connection', 'close']),
  '§8.2.2 keep-alive': withField(['keep-alive', '1']),
  '§8.2.2 proxy-connection': withField(['proxy-connection', 'close']),
  '§8.2.2 transfer-encoding': withField(['transfer-encoding', 'chunked']),
  '§8.2.2 upgrade': withField(['upgrade', 'h2c']),
  '§8.2.2 te other than trailers': withField(['te', 'gzip']),
  '§8.2.2 te: trailers': { sends: [get(1, [['te', 'trailers']])], status: '200' },
  '§8.3 an unknown pseudo-field': malformed([...GET, [':test', 'a']]),
  '§8.3 a response pseudo-field': malformed([...GET, [':status', '200']]),
  '§8.3 a pseudo-field after a regular one': malformed([['x', 'y'], ...GET]),
  '§8.3.1 no :method': malformed(without(':method')),
  '§8.3.1 no :scheme': malformed(without(':scheme')),
  '§8.3.1 no :path': malformed(without(':path')),
  '§8.3.1 no :authority is allowed': { sends: [f.headers(1, without(':authority'), true)], status: '200' },
  '§8.3.1 an empty :path': malformed([...without(':path'), [':path', '']]),
  '§8.3.1 a :path without slash': malformed([...without(':path'), [':path', 'a']]),
  '§8.3.1 two :method': malformed([...GET, [':method', 'GET']]),
  '§8.3.1 two :scheme': malformed([...GET, [':scheme', 'http']]),
  '§8.3.1 a :path with an octet that is not US-ASCII': malformed([...without(':path'), [':path', '/\u00e4']]),
  '§8.3.1 two :path': malformed([...GET, [':path', '/']]),
  '§8.3.1 two :authority': malformed([...GET, [':authority', 'a']]),
  '§8.3.1 OPTIONS *': {
    sends: [
      f.headers(
        1,
        [
          [':method', 'OPTIONS'],
          [':scheme', 'http'],
          [':path', '*'],
        ],
        true,
      ),
    ],
    status: '200',
  },
  '§8.5 CONNECT with :path': malformed([[':method', 'CONNECT'], ...GET.slice(1)]),
  '§8.5 CONNECT is not offered': {
    sends: [
      f.headers(
        1,
        [
          [':method', 'CONNECT'],
          [':authority', 'a:1'],
        ],
        true,
      ),
    ],
    status: '501',
  },
  '§10.5.1 a header list above the limit': {
    sends: [
      get(1, [
        ['a', 'x'.repeat(2100)],
        ['b', 'y'.repeat(2100)],
      ]),
    ],
    status: '431',
  },
  '§10.5.1 a :path above the limit': {
    sends: [f.headers(1, [...without(':path'), [':path', `/${'x'.repeat(5000)}`]], true)],
    status: '431',
  },
  '§10.5.1 a :path above the limit, with a body': {
    sends: [f.headers(1, [...without(':path'), [':path', `/${'x'.repeat(5000)}`]], false), f.data(1, 'a', true)],
    status: '431',
  },
  '§10.5.1 too many fields': {
    sends: [
      get(
        1,
        Array.from({ length: 101 }, () => ['a', ''] as const),
      ),
    ],
    status: '431',
  },
  '§8.1 HEAD': { sends: [f.headers(1, [[':method', 'HEAD'], ...GET.slice(1)], true)], status: '200' },
  '§8.1.1 content-length below the body, in several frames': {
    sends: [post(1, [['content-length', '1']]), f.data(1, 'a'), f.data(1, 'b', true)],
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  '§8.1.1 content-length that the body has': {
    sends: [post(1, [['content-length', '3']]), f.data(1, 'ab'), f.data(1, 'c', true)],
    status: '200',
  },
  '§8.1.1 a connection-specific field in trailers': {
    sends: [post(), f.headers(1, [['connection', 'close']], true)],
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  '§8.2 an upper-case name in trailers': {
    sends: [post(), f.headers(1, [['X', 'y']], true)],
    reset: ErrorCode.PROTOCOL_ERROR,
  },
  '§8.2.1 a name with a colon': withField(['a:b', 'c']),
  '§8.2.1 DEL in a name': withField(['a\x7f', 'c']),
  '§8.2.1 NUL in :path': malformed([...without(':path'), [':path', '/\0']]),
  '§8.3.1 an empty :method': malformed([...without(':method'), [':method', '']]),
  '§8.3.1 user information in :authority': malformed([...without(':authority'), [':authority', 'u:p@a']]),
  '§8.5 CONNECT without :authority': malformed([[':method', 'CONNECT']]),
};

tryRules('RFC 9113 §8, the server', RULES);
