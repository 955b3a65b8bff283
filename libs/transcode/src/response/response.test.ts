import { describe, expect, test } from 'vitest';
import { gateway, schema } from '../../testdata/load.js';
import { messageCodec } from '../codec.js';
import { TranscodeError } from '../errors.js';
import { accepts, negotiate } from '../request/media-type.js';

const { find } = gateway({ json: { printDefaults: false } });
const enveloped = gateway({ json: { printDefaults: false }, envelope: 'result' });

function message(type: string, json: unknown): Uint8Array {
  return messageCodec(schema, type.includes('.') ? type : `transcode.test.v1.${type}`)!.fromJson(
    Buffer.from(JSON.stringify(json)),
  );
}

function answer(request: string, bytes: Uint8Array): { contentType: string; body: string } {
  const { contentType, body } = find(request).binding.decodeResponse(bytes);
  return { contentType, body: Buffer.from(body).toString() };
}

describe('bodies', () => {
  test('a message, with or without defaults and by either name', () => {
    const bytes = message('Author', { givenName: 'Ada', favourite: 1 });
    const book = message('Book', { author: { givenName: 'Ada', favourite: 1 } });
    expect(answer('GET /v1/books/1', book)).toEqual({
      contentType: 'application/json',
      body: '{"author":{"givenName":"Ada","favourite":"COLOR_RED"}}',
    });
    const all = messageCodec(schema, 'transcode.test.v1.Author', { enumNumbers: true, protoNames: true })!;
    expect(all.toJson(bytes).toString()).toBe('{"given_name":"Ada","family_name":"","favourite":1}');
  });

  test('one field of a message', () => {
    const list = message('ListBooksResponse', { books: [{ name: 'a' }, {}], nextPageToken: 'x' });
    expect(answer('GET /v1/shelves/1/books', list).body).toBe('[{"name":"a"},{}]');
    expect(answer('GET /v1/shelves/1/books', new Uint8Array(0)).body).toBe('[]');
    expect(answer('POST /v1/tags/1/1', message('TagRequest', { tags: ['a'] })).body).toBe('["a"]');
  });

  test('HttpBody, alone and as a field', () => {
    const raw = message('google.api.HttpBody', { contentType: 'image/png', data: 'AP8K' });
    expect(find('GET /v1/files/a').binding.decodeResponse(raw)).toMatchObject({ contentType: 'image/png' });
    expect([...find('GET /v1/files/a').binding.decodeResponse(raw).body]).toEqual([0, 255, 10]);
    const receipt = message('WriteFileResponse', { receipt: { contentType: 'text/plain', data: 'aGk=' } });
    expect(answer('PUT /v1/files/a', receipt)).toEqual({ contentType: 'text/plain', body: 'hi' });
    expect(answer('PUT /v1/files/a', new Uint8Array(0))).toEqual({ contentType: 'application/octet-stream', body: '' });
  });

  test.each(['text/html\r\nset-cookie: a=b', 'é', '', 'a\u0000', 'x'.repeat(300)])(
    'a content type that is none becomes octet-stream: %j',
    (contentType) => {
      const raw = message('google.api.HttpBody', { contentType, data: 'aGk=' });
      expect(answer('GET /v1/files/a', raw).contentType).toBe('application/octet-stream');
    },
  );

  test('the wire in any order, with unknown, repeated and split fields', () => {
    const codec = messageCodec(schema, 'transcode.test.v1.Book', { printDefaults: false })!;
    const hex = (text: string): string => codec.toJson(Buffer.from(text.replaceAll(' ', ''), 'hex')).toString();
    expect(hex('1201 62 0a01 61')).toBe('{"name":"a","title":"b"}');
    expect(hex('0a01 61 0a01 62')).toBe('{"name":"b"}');
    expect(hex('2203 0a01 61 2203 1201 62')).toBe('{"author":{"givenName":"a","familyName":"b"}}');
    expect(hex('2a01 61 1201 74 2a01 62')).toBe('{"title":"t","topics":["a","b"]}');
    expect(hex('f83f 01 0a01 61 f93f 0000000000000000 fb3f 0801 fc3f')).toBe('{"name":"a"}');
    expect(hex('0801 0a01 61')).toBe('{"name":"a"}');
    expect(hex('3a06 0a01 61 1201 62 3a06 0a01 61 1201 63')).toBe('{"labels":{"a":"c"}}');
    expect(hex('3a06 1201 62 0a01 61 3a00')).toBe('{"labels":{"a":"b","":""}}');
    expect(hex('3a00 3a02 1200 3a02 0a00')).toBe('{"labels":{"":""}}');
  });

  test('packed or not, and numbers that a closed enum does not have', () => {
    const lists = messageCodec(schema, 'transcode.test.v1.Lists', { printDefaults: false })!;
    expect(lists.toJson(Buffer.from('1a0201021803900104920101 05'.replaceAll(' ', ''), 'hex')).toString()).toBe(
      '{"int32Field":[1,2,3],"unpackedField":[4,5]}',
    );
    const legacy = messageCodec(schema, 'transcode.test.v1.Legacy', { printDefaults: false })!;
    expect(legacy.toJson(Buffer.from('18011802200120032005', 'hex')).toString()).toBe(
      '{"size":"SMALL","sizes":["SMALL","LARGE"]}',
    );
  });

  test('strings that are not UTF-8 are refused, or replaced where the schema does not verify them', () => {
    const codec = messageCodec(schema, 'transcode.test.v1.Book')!;
    expect(() => codec.toJson(Buffer.from('0a02 6fff'.replaceAll(' ', ''), 'hex'))).toThrow('not UTF-8');
    const modern = messageCodec(schema, 'transcode.test.v1.Modern', { printDefaults: false })!;
    expect(modern.toJson(Buffer.from('52026fff', 'hex')).toString()).toBe('{"unchecked":"o\ufffd"}');
  });

  test.each([
    ['0a05 61', 'cut'],
    ['0a', 'cut'],
    ['0aff ffff ffff ffff ffff ffff 01', 'varint'],
    ['0aff ffff ff0f', 'cut'],
    ['00', 'field number 0'],
    ['0f', 'wire type 7'],
    ['0c', 'wire type 4'],
    ['fb3f', 'cut'],
    ['fb3f 0801 843f', 'a group ends'],
    ['32 0b 10 ff ff ff ff ff ff ff ff ff 01', 'out of range'],
    ['3204 10 80 94 eb', 'cut'],
  ])('bytes that are no message: %s', (bytes, reason) => {
    const codec = messageCodec(schema, 'transcode.test.v1.Book')!;
    const run = (): unknown => codec.toJson(Buffer.from(bytes.replaceAll(' ', ''), 'hex'));
    expect(run).toThrow(TranscodeError);
    expect(run).toThrow(reason);
  });

  test('a message whose defaults would fill the memory', { timeout: 60_000 }, () => {
    const codec = messageCodec(schema, 'transcode.test.v1.Lists')!;
    const empties = Buffer.alloc(3_000_000, Buffer.from('8a0100', 'hex'));
    expect(() => codec.toJson(empties)).toThrow('larger than');
  });

  test('a message nested without end', () => {
    const codec = messageCodec(schema, 'transcode.test.v1.Tree')!;
    let bytes = Buffer.alloc(0);
    for (let i = 0; i < 5000; i++) {
      const length = bytes.length;
      const prefix = length < 128 ? [0x12, length] : [0x12, (length & 0x7f) | 0x80, length >> 7];
      if (length < 16384) bytes = Buffer.concat([Buffer.from(prefix), bytes]);
    }
    expect(() => codec.toJson(bytes)).toThrow('nested deeper than 300 levels');
    const groups = Buffer.alloc(200_000, 0x0b);
    expect(() => codec.toJson(groups)).toThrow('nested deeper');
  });
});

describe('server streams', () => {
  const books = ['a', 'b'].map((name) => message('Book', { name }));
  const problem = '{"code":"UNAVAILABLE"}';

  function stream(request: string, accept: string | undefined, messages: Uint8Array[], failed: boolean) {
    const framed = find(request).binding.openResponseStream(accept);
    const parts = messages.map((one) => framed.item(one));
    const last = failed ? framed.error(problem) : framed.end();
    return {
      contentType: framed.contentType,
      text: Buffer.concat([...parts, ...(last ? [last] : [])]).toString(),
      last,
    };
  }

  const watch = 'GET /v1/shelves/1/books:watch';
  test.each([
    [
      undefined,
      'application/x-ndjson',
      '{"name":"a"}\n{"name":"b"}\n',
      `{"name":"a"}\n{"name":"b"}\n{"error":${problem}}\n`,
    ],
    [
      '*/*',
      'application/x-ndjson',
      '{"name":"a"}\n{"name":"b"}\n',
      `{"name":"a"}\n{"name":"b"}\n{"error":${problem}}\n`,
    ],
    [
      'application/jsonl',
      'application/jsonl',
      '{"name":"a"}\n{"name":"b"}\n',
      `{"name":"a"}\n{"name":"b"}\n{"error":${problem}}\n`,
    ],
    [
      'text/event-stream',
      'text/event-stream',
      'data: {"name":"a"}\n\ndata: {"name":"b"}\n\nevent: end\ndata: {}\n\n',
      `data: {"name":"a"}\n\ndata: {"name":"b"}\n\nevent: error\ndata: ${problem}\n\n`,
    ],
    [
      'application/json',
      'application/json',
      '[{"name":"a"},\n{"name":"b"}]',
      `[{"name":"a"},\n{"name":"b"},\n{"error":${problem}}`,
    ],
  ])('Accept: %s', (accept, contentType, complete, failed) => {
    expect(stream(watch, accept, books, false)).toMatchObject({ contentType, text: complete });
    expect(stream(watch, accept, books, true)).toMatchObject({ contentType, text: failed });
    expect(failed.startsWith(complete) && complete === failed).toBe(false);
  });

  test('an array without messages, and one that fails at once', () => {
    expect(stream(watch, 'application/json', [], false).text).toBe('[]');
    expect(() => JSON.parse(stream(watch, 'application/json', books, true).text) as unknown).toThrow(SyntaxError);
    expect(() => JSON.parse(stream(watch, 'application/json', [], true).text) as unknown).toThrow(SyntaxError);
  });

  test('the error is told from messages that have an error themselves', () => {
    const failure = message('Failure', { error: 'mine' });
    expect(stream('POST /v1/talk', undefined, [failure], true).text).toBe(`{"error":"mine"}\n{"@error":${problem}}\n`);
  });

  test('HttpBody: bytes with the type of the first, and no way to show an error', () => {
    const parts = ['aGk=', 'IQ=='].map((data) => message('google.api.HttpBody', { contentType: 'text/plain', data }));
    expect(stream('GET /v1/downloads/a', 'text/plain', parts, false)).toMatchObject({
      contentType: 'text/plain',
      text: 'hi!',
    });
    expect(stream('GET /v1/downloads/a', undefined, parts, true).last).toBeUndefined();
  });

  test.each([
    [undefined, 'application/json', 'lines'],
    ['application/json', 'application/json', 'lines'],
    ['application/x-ndjson', 'application/x-ndjson', 'lines'],
    ['text/event-stream', 'text/event-stream', 'events'],
  ])('in envelopes, as clients of grpc-gateway read them: Accept: %s', (accept, contentType, kind) => {
    const framed = enveloped.find(watch).binding.openResponseStream(accept);
    const text = [framed.item(books[0]!), framed.end(), framed.error(problem)!].map(String);
    expect(framed.contentType).toBe(contentType);
    expect(text).toEqual(
      kind === 'lines'
        ? ['{"result":{"name":"a"}}\n', '', `{"error":${problem}}\n`]
        : [
            'data: {"result":{"name":"a"}}\n\n',
            'event: end\ndata: {}\n\n',
            `event: error\ndata: {"error":${problem}}\n\n`,
          ],
    );
    // A message with an error of its own cannot be taken for one.
    const talk = enveloped.find('POST /v1/talk').binding.openResponseStream('application/x-ndjson');
    expect(String(talk.error(problem))).toBe(`{"error":${problem}}\n`);
  });

  test.each(['application/x-ndjson', 'text/event-stream', 'application/json'])(
    'what says nothing changes nothing: %s',
    (accept) => {
      const framed = find(watch).binding.openResponseStream(accept);
      const silence = String(framed.silence);
      const text = [silence, framed.item(books[0]!), silence, framed.item(books[1]!), silence, framed.end()].map(
        String,
      );
      const bare = (whole: string) => whole.replaceAll(/: ping\n\n|\n/g, '');
      expect(bare(text.join(''))).toBe(bare(stream(watch, accept, books, false).text));
      expect(silence).toMatch(/^(\n|: ping\n\n)$/);
    },
  );

  test('nothing else is acceptable', () => {
    expect(() => find(watch).binding.openResponseStream('text/html')).toThrow(
      expect.objectContaining({ code: 'NOT_ACCEPTABLE', status: 406 }) as Error,
    );
  });
});

describe('client streams', () => {
  function open(request: string, contentType?: string, itemBytesMax = 1000) {
    const { binding, variables, query } = find(request);
    return binding.openRequestStream({ variables, query, contentType }, itemBytesMax);
  }
  const text = '{"title":"a"}\n\r\n{"title":"é\\n"}\n  \n{"title":"c"}';
  const upload = 'POST /v1/shelves/1/books:upload';

  test('NDJSON, cut anywhere; path and query are part of every message', () => {
    const bytes = Buffer.from(text);
    const whole = open(`${upload}?request_id=r`, 'application/x-ndjson');
    const expected = [...whole.push(bytes), ...whole.end()].map((one) => Buffer.from(one).toString('hex'));
    expect(expected).toHaveLength(3);
    const codec = messageCodec(schema, 'transcode.test.v1.CreateBookRequest', { printDefaults: false })!;
    expect(codec.toJson(Buffer.from(expected[1]!, 'hex')).toString()).toBe(
      '{"parent":"shelves/1","book":{"title":"é\\n"},"requestId":"r"}',
    );
    for (let cut = 0; cut <= bytes.length; cut++) {
      const stream = open(`${upload}?request_id=r`, 'application/x-ndjson');
      const chunk = Uint8Array.from(bytes.subarray(0, cut));
      const messages = stream.push(chunk);
      chunk.fill(0x78);
      messages.push(...stream.push(bytes.subarray(cut)), ...stream.end());
      expect(messages.map((one) => Buffer.from(one).toString('hex'))).toEqual(expected);
    }
  });

  test('NDJSON in pieces of one octet', () => {
    const one = open(upload);
    const whole = open(upload);
    const bytes = Buffer.from(text);
    const messages = [...bytes].flatMap((octet) => one.push(Uint8Array.of(octet)));
    expect([...messages, ...one.end()]).toEqual([...whole.push(bytes), ...whole.end()]);
  });

  test('faults tell the line', () => {
    const stream = open(upload, 'application/x-ndjson');
    expect(stream.push(Buffer.from('{"title":"a"}\n'))).toHaveLength(1);
    expect(() => stream.push(Buffer.from('\n{"title":1}\n'))).toThrow(
      expect.objectContaining({
        code: 'INVALID_VALUE',
        field: 'title',
        position: { offset: 24, line: 3, column: 10 },
      }) as Error,
    );
  });

  test('a line has a bound, also while it grows', () => {
    const stream = open(upload, 'application/x-ndjson', 10);
    stream.push(Buffer.from('{"title"'));
    expect(() => stream.push(Buffer.from(':"aaaa'))).toThrow(
      expect.objectContaining({ code: 'ITEM_TOO_LARGE', status: 413 }) as Error,
    );
  });

  test('only NDJSON and JSON', () => {
    expect(open(upload, 'application/json').push(Buffer.from('{}\n'))).toHaveLength(1);
    expect(() => open(upload, 'application/x-www-form-urlencoded')).toThrow('NDJSON');
    expect(() => open(upload, 'text/plain')).toThrow('must be JSON');
  });
});

describe('Accept', () => {
  const offers = ['application/x-ndjson', 'text/event-stream', 'application/json'];
  test.each([
    [undefined, 'application/x-ndjson'],
    ['', 'application/x-ndjson'],
    ['*/*', 'application/x-ndjson'],
    ['application/json', 'application/json'],
    ['application/json, text/plain, */*', 'application/json'],
    ['text/event-stream, application/json', 'text/event-stream'],
    ['application/json;q=0.5, text/event-stream;q=0.4', 'application/json'],
    ['text/*', 'text/event-stream'],
    ['application/*;q=0.1, application/x-ndjson;q=0', 'application/json'],
    ['TEXT/Event-Stream', 'text/event-stream'],
    ['text/html', undefined],
    ['application/json;q=0', undefined],
    ['*/*;q=0', undefined],
    [',,;', undefined],
  ])('%s → %s', (accept, expected) => {
    expect(negotiate(accept, offers)).toBe(expected);
  });

  test('of one type', () => {
    expect(accepts('text/html,application/xhtml+xml,*/*;q=0.8', 'application/json')).toBe(true);
    expect(accepts('application/json', 'application/json; charset=utf-8')).toBe(true);
    expect(accepts('text/html', 'application/json')).toBe(false);
    expect(accepts('text/html, */*', 'application/json')).toBe(true);
    expect(accepts('application/json;q=0, */*', 'application/json')).toBe(false);
  });
});
