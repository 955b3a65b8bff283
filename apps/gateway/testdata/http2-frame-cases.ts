import {
  ACK,
  ANSWERED,
  CANCEL,
  COMPRESSION,
  FLOW_CONTROL,
  FRAME_SIZE,
  PADDED,
  PONG,
  PROTOCOL,
  REFUSED,
  STREAM_CLOSED,
  WHOLE,
  WINDOW,
  WITH_PRIORITY,
  block,
  connectionError,
  continuation,
  data,
  goaway,
  headers,
  octets,
  of,
  ping,
  priority,
  reset,
  setting,
  settings,
  streamError,
  uint32,
  unknown,
  windowUpdate,
  type Http2Section,
  type Requests,
} from './http2-case.js';
import { END_HEADERS, END_STREAM, PREFACE, Type, frame } from './raw-http2.js';

/** Frames and streams, section by section of RFC 9113, on a server that takes `streams` at once. The answer to a GET must have a body of five octets or more. */
export function http2FrameSections(requests: Requests, streams: number): readonly Http2Section[] {
  const { POST, get, post } = requests;
  const request = block(requests.GET);
  /** A field of four kilobytes. */
  const long = (name = 'x-dummy0') => block([[name, 'x'.repeat(4000)]]);

  return [
    {
      section: '§3.4 preface',
      cases: [
        {
          name: 'SETTINGS come first',
          begins: Buffer.concat([PREFACE, settings([WINDOW, 65_535])]),
          steps: [],
          verdict: { kind: 'opened' },
        },
        {
          name: 'that is none',
          begins: Buffer.from('INVALID CONNECTION PREFACE\r\n\r\n'),
          steps: [],
          verdict: { kind: 'closed' },
        },
        {
          name: 'that is none from its fourth octet on',
          begins: Buffer.from('PRIVATE / HTTP/1.1\r\nHost: a\r\n\r\n'),
          steps: [],
          verdict: { kind: 'closed' },
        },
      ],
    },
    {
      section: '§4.1 frame format',
      cases: [
        of('an unknown type', [unknown(), ping('h2')], PONG),
        of('an undefined flag', [ping('h2', 0x16)], PONG),
        of('the reserved bit', [withReservedBit(ping('h2'))], PONG),
      ],
    },
    {
      section: '§4.2 frame size',
      cases: [
        of('DATA of 2^14 octets', [post(), data(1, 'x'.repeat(16_384))], ANSWERED),
        of('DATA above SETTINGS_MAX_FRAME_SIZE', [post(), data(1, 'x'.repeat(16_385))], streamError(FRAME_SIZE)),
        of(
          'HEADERS above SETTINGS_MAX_FRAME_SIZE',
          [headers(1, Buffer.concat([request, ...[0, 1, 2, 3, 4].map((at) => long(`x-dummy${at}`))]), WHOLE)],
          connectionError(FRAME_SIZE),
        ),
      ],
    },
    {
      section: '§4.3 header blocks',
      cases: [
        of(
          'a literal that ends after its first octet',
          [headers(1, octets(0x40), WHOLE)],
          connectionError(COMPRESSION),
        ),
        of(
          'PRIORITY before their end',
          [get(1, 0), priority(1, 0), continuation(1, long())],
          connectionError(PROTOCOL),
        ),
        of(
          'HEADERS of another stream before their end',
          [get(1, 0), get(3), continuation(1, long())],
          connectionError(PROTOCOL),
        ),
        of('an unknown frame before their end', [get(1, END_STREAM), unknown()], connectionError(PROTOCOL)),
      ],
    },
    {
      section: '§5.1 stream states',
      cases: [
        of('idle: DATA', [data(1)], connectionError(PROTOCOL)),
        of('idle: RST_STREAM', [reset(1, CANCEL)], connectionError(PROTOCOL)),
        of('idle: WINDOW_UPDATE', [windowUpdate(1, 100)], connectionError(PROTOCOL)),
        of('idle: CONTINUATION', [continuation(1, request)], connectionError(PROTOCOL)),
        of('idle: PRIORITY', [priority(1, 0), ping('h2')], PONG),
        of('half-closed: DATA', [get(), data(1)], streamError(STREAM_CLOSED)),
        of('half-closed: HEADERS', [get(), get()], streamError(STREAM_CLOSED)),
        of('half-closed: CONTINUATION', [get(), continuation(1, request)], streamError(STREAM_CLOSED, PROTOCOL)),
        of('half-closed: WINDOW_UPDATE', [settings([WINDOW, 0]), get(), windowUpdate(1, 1)], {
          kind: 'data',
          octets: 1,
        }),
        of('half-closed: PRIORITY', [settings([WINDOW, 0]), get(), priority(1, 0), windowUpdate(1, 1)], {
          kind: 'data',
          octets: 1,
        }),
        of('half-closed: RST_STREAM', [get(), reset(1, CANCEL), ping('h2')], PONG),
        of('reset: DATA', [get(1, END_HEADERS), reset(1, CANCEL), data(1)], streamError(STREAM_CLOSED)),
        of('reset: HEADERS', [get(1, END_HEADERS), reset(1, CANCEL), get()], streamError(STREAM_CLOSED)),
        of(
          'reset: CONTINUATION',
          [get(1, END_HEADERS), reset(1, CANCEL), continuation(1, long())],
          streamError(STREAM_CLOSED, PROTOCOL),
        ),
        of('closed: DATA', [get(), 'answer', data(1)], connectionError(STREAM_CLOSED)),
        of('closed: HEADERS', [get(), 'answer', get()], connectionError(STREAM_CLOSED)),
        of(
          'closed: CONTINUATION',
          [get(), 'answer', continuation(1, long())],
          connectionError(STREAM_CLOSED, PROTOCOL),
        ),
        of('closed: PRIORITY', [get(), 'answer', priority(1, 0), ping('h2')], PONG),
        of(
          'closed: RST_STREAM and WINDOW_UPDATE',
          [get(), 'answer', reset(1, CANCEL), windowUpdate(1, 1), ping('h2')],
          PONG,
        ),
      ],
    },
    {
      section: '§5.1.1 stream identifiers',
      cases: [
        of('an even one', [get(2)], connectionError(PROTOCOL)),
        of('one that is smaller than before', [get(5), get(3)], connectionError(PROTOCOL)),
        of('the same twice', [get(5), get(5)], streamError(STREAM_CLOSED)),
      ],
    },
    {
      section: '§5.1.2 concurrent streams',
      cases: [
        of(
          'one more than allowed',
          [settings([WINDOW, 0]), Buffer.concat(Array.from({ length: streams + 1 }, (_, at) => get(at * 2 + 1)))],
          streamError(PROTOCOL, REFUSED),
        ),
      ],
    },
    {
      section: '§5.3 priority, as RFC 7540 had it',
      cases: [
        of(
          'HEADERS that depend on themselves',
          [headers(1, Buffer.concat([uint32(1), octets(255), request]), WHOLE | WITH_PRIORITY)],
          streamError(PROTOCOL),
        ),
        of('PRIORITY that depends on itself', [priority(1, 1)], streamError(PROTOCOL)),
        of('the least weight', [priority(1, 0, 0), get()], ANSWERED),
        of('the most weight', [priority(1, 0, 255), get()], ANSWERED),
        of('a dependency', [priority(3, 1, 0), get()], ANSWERED),
        of('an exclusive dependency', [priority(1, 0x8000_0000, 0), get()], ANSWERED),
        of('of a stream above the one that is opened', [priority(3, 0), get()], ANSWERED),
      ],
    },
    {
      section: '§5.4.1 connection errors',
      cases: [
        of('end the connection', [frame(Type.PING, 0, 3, Buffer.alloc(8))], { kind: 'closed' }),
        of('are told by GOAWAY', [frame(Type.PING, 0, 3, Buffer.alloc(8))], connectionError(PROTOCOL)),
      ],
    },
    {
      section: '§6.1 DATA',
      cases: [
        of('one frame', [post(), data(1)], ANSWERED),
        of('several frames', [post(), data(1, 'test', 0), data(1)], ANSWERED),
        of('with padding', [post(), frame(Type.DATA, END_STREAM | PADDED, 1, Buffer.from('\x06testpadded'))], ANSWERED),
        of('on stream 0', [data(0)], connectionError(PROTOCOL)),
        of('on a stream that is not open', [headers(1, block(POST), WHOLE), data(1)], streamError(STREAM_CLOSED)),
        of(
          'with more padding than payload',
          [post([['content-length', '4']]), frame(Type.DATA, END_STREAM | PADDED, 1, Buffer.from('\x06Test'))],
          connectionError(PROTOCOL),
        ),
      ],
    },
    {
      section: '§6.2 HEADERS',
      cases: [
        of(
          'with padding',
          [headers(1, Buffer.concat([octets(8), request, Buffer.alloc(8)]), WHOLE | PADDED)],
          ANSWERED,
        ),
        of(
          'with priority',
          [headers(1, Buffer.concat([uint32(0), octets(255), request]), WHOLE | WITH_PRIORITY)],
          ANSWERED,
        ),
        of('on stream 0', [get(0)], connectionError(PROTOCOL)),
        of(
          'with more padding than payload',
          [headers(1, Buffer.concat([octets(request.length + 2), request]), WHOLE | PADDED)],
          streamError(PROTOCOL),
        ),
      ],
    },
    {
      section: '§6.3 PRIORITY',
      cases: [
        of('on stream 0', [priority(0, 0)], connectionError(PROTOCOL)),
        of('of 4 octets', [get(), frame(Type.PRIORITY, 0, 1, uint32(0x8000_0001))], streamError(FRAME_SIZE)),
      ],
    },
    {
      section: '§6.4 RST_STREAM',
      cases: [
        of('on an open stream', [get(1, END_HEADERS), reset(1, CANCEL), ping('h2')], PONG),
        of('on stream 0', [reset(0, CANCEL)], connectionError(PROTOCOL)),
        of('of 3 octets', [get(), frame(Type.RST_STREAM, 0, 1, Buffer.alloc(3))], streamError(FRAME_SIZE)),
        of('with an unknown code', [post(), reset(1, 0xff), ping('h2')], PONG),
      ],
    },
    {
      section: '§6.5 SETTINGS',
      cases: [
        of('all that are defined', [settings([1, 4096], [2, 1], [3, 100], [WINDOW, 65_535], [5, 16_384], [6, 100])], {
          kind: 'settings',
        }),
        of('are acknowledged', [settings([2, 0])], { kind: 'settings' }),
        of('an acknowledgement with payload', [frame(Type.SETTINGS, ACK, 0, octets(0))], connectionError(FRAME_SIZE)),
        of('on a stream', [frame(Type.SETTINGS, 0, 1, setting(3, 100))], connectionError(PROTOCOL)),
        of(
          'of 8 octets',
          [frame(Type.SETTINGS, 0, 0, Buffer.concat([setting(3, 100), octets(0, 2)]))],
          connectionError(FRAME_SIZE, PROTOCOL),
        ),
        of('ENABLE_PUSH of 2', [settings([2, 2])], connectionError(PROTOCOL)),
        of('INITIAL_WINDOW_SIZE of 2^31', [settings([WINDOW, 2 ** 31])], connectionError(FLOW_CONTROL)),
        of('MAX_FRAME_SIZE of 2^14-1', [settings([5, 16_383])], connectionError(PROTOCOL)),
        of('MAX_FRAME_SIZE of 2^24', [settings([5, 2 ** 24])], connectionError(PROTOCOL)),
        of('an unknown one', [settings([0xff, 1]), ping('h2')], PONG),
        of('the same twice: the last counts', [settings([WINDOW, 100], [WINDOW, 1]), 'settings', get()], {
          kind: 'data',
          octets: 1,
        }),
      ],
    },
    {
      section: '§6.6 and §8.4 PUSH_PROMISE',
      cases: [
        of(
          'from a client',
          [get(1, END_HEADERS), frame(Type.PUSH_PROMISE, END_HEADERS, 1, Buffer.concat([uint32(2), request]))],
          connectionError(PROTOCOL),
        ),
      ],
    },
    {
      section: '§6.7 PING',
      cases: [
        of('is answered', [ping('h2spec')], PONG),
        of('that is an answer is not', [ping('invalid', ACK), ping('h2spec')], PONG),
        of('on a stream', [frame(Type.PING, 0, 1, Buffer.alloc(8))], connectionError(PROTOCOL)),
        of('of 6 octets', [frame(Type.PING, 0, 0, Buffer.alloc(6))], connectionError(FRAME_SIZE)),
      ],
    },
    {
      section: '§6.8 GOAWAY',
      cases: [
        of('ends the connection', [goaway(0, 0)], { kind: 'closed' }),
        of('with an unknown code', [goaway(0, 0xff)], { kind: 'closed' }),
        of('on a stream', [goaway(1, 0)], connectionError(PROTOCOL)),
      ],
    },
    {
      section: '§6.9 WINDOW_UPDATE',
      cases: [
        of('of the connection', [windowUpdate(0, 1), ping('h2')], PONG),
        of('of a stream', [get(), windowUpdate(1, 1)], ANSWERED),
        of('of 0, of the connection', [windowUpdate(0, 0)], connectionError(PROTOCOL)),
        of('of 0, of a stream', [get(1, END_HEADERS), windowUpdate(1, 0)], streamError(PROTOCOL)),
        of('of 3 octets', [frame(Type.WINDOW_UPDATE, 0, 0, octets(0, 0, 1))], connectionError(FRAME_SIZE)),
        of('a window of 1', [settings([WINDOW, 1]), 'settings', get()], { kind: 'data', octets: 1 }),
        of(
          'a connection window above 2^31-1',
          [windowUpdate(0, 2 ** 31 - 1), windowUpdate(0, 2 ** 31 - 1)],
          connectionError(FLOW_CONTROL),
        ),
        of(
          'a stream window above 2^31-1',
          [get(1, END_HEADERS), windowUpdate(1, 2 ** 31 - 1), windowUpdate(1, 2 ** 31 - 1)],
          streamError(FLOW_CONTROL),
        ),
        of('a window that a setting opens', [settings([WINDOW, 0]), 'settings', get(), settings([WINDOW, 1])], {
          kind: 'data',
          octets: 1,
        }),
        of(
          'a window that a setting makes negative',
          [settings([WINDOW, 3]), 'settings', get(), 'data', settings([WINDOW, 2]), 'settings', windowUpdate(1, 2)],
          { kind: 'data', octets: 1 },
        ),
      ],
    },
    {
      section: '§6.10 CONTINUATION',
      cases: [
        of('one', [headers(1, request.subarray(0, 5), END_STREAM), continuation(1, request.subarray(5))], ANSWERED),
        of(
          'two',
          [
            headers(1, request.subarray(0, 5), END_STREAM),
            continuation(1, request.subarray(5, 10), 0),
            continuation(1, request.subarray(10)),
          ],
          ANSWERED,
        ),
        of(
          'two of four kilobytes',
          [get(1, END_STREAM), continuation(1, long(), 0), continuation(1, long())],
          ANSWERED,
        ),
        of(
          'followed by DATA',
          [headers(1, block(POST), 0), continuation(1, long(), 0), data(1)],
          connectionError(PROTOCOL),
        ),
        of('on stream 0', [get(1, END_STREAM), continuation(0, long())], connectionError(PROTOCOL)),
        of('after HEADERS with END_HEADERS', [get(), continuation(1, long())], connectionError(PROTOCOL)),
        of(
          'after CONTINUATION with END_HEADERS',
          [get(1, END_STREAM), continuation(1, long()), continuation(1, long())],
          connectionError(PROTOCOL),
        ),
        of(
          'after DATA',
          [headers(1, block(POST), 0), data(1), continuation(1, long(), 0), continuation(0, long())],
          connectionError(PROTOCOL),
        ),
      ],
    },
  ];
}

function withReservedBit(bytes: Buffer): Buffer {
  bytes[5] = bytes[5]! | 0x80;
  return bytes;
}
