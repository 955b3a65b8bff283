import { fromBinary, toJson } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { gateway, schema } from '../../testdata/load.js';
import { TranscodeError } from '../errors.js';

const strict = gateway();
const form = 'application/x-www-form-urlencoded';

/** The request message as the upstream reads it, in JSON with proto names. */
function received(request: string, body?: string, contentType?: string, of = strict): unknown {
  const { input } = of.find(request).binding.method.desc;
  const message = fromBinary(input, of.encode(request, body, contentType));
  return toJson(input, message, { useProtoFieldName: true, registry: schema.registry });
}

/** The paths of the only mask of a request, as the upstream reads them. */
function pathsOf(request: string, body?: string, contentType?: string): string[] {
  const { input } = strict.find(request).binding.method.desc;
  const message = fromBinary(input, strict.encode(request, body, contentType)) as unknown as Record<
    string,
    { paths: string[] } | undefined
  >;
  return (message['readMask'] ?? message['updateMask'])?.paths ?? [];
}

function refusal(request: string, body?: string, contentType?: string, of = strict): TranscodeError {
  try {
    of.encode(request, body, contentType);
  } catch (error) {
    if (error instanceof TranscodeError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('maps in the query', () => {
  test.each([
    [
      'maps.string_string[a]=b&maps.stringString[c.d]=e&maps.string_string[]=f',
      { string_string: { a: 'b', 'c.d': 'e', '': 'f' } },
    ],
    ['maps.string_string[x%5By%5D]=z&maps.string_string[%C3%A9%26]=%3D', { string_string: { 'x[y]': 'z', 'é&': '=' } }],
    ['maps.string_string[__proto__]=a', { string_string: { ['__proto__']: 'a' } }],
    ['maps.int32_int64[-7]=9007199254740993', { int32_int64: { '-7': '9007199254740993' } }],
    ['maps.int64_double[-9223372036854775808]=1.5', { int64_double: { '-9223372036854775808': 1.5 } }],
    [
      'maps.uint32_bool[4294967295]=true&maps.uint32_bool[0]=false',
      { uint32_bool: { '4294967295': true, '0': false } },
    ],
    ['maps.uint64_bytes[18446744073709551615]=AP8', { uint64_bytes: { '18446744073709551615': 'AP8=' } }],
    ['maps.sint32_float[-1]=0.5', { sint32_float: { '-1': 0.5 } }],
    ['maps.sint64_sint64[-1]=-2', { sint64_sint64: { '-1': '-2' } }],
    [
      'maps.fixed32_color[1]=COLOR_RED&maps.fixed32_color[2]=2',
      { fixed32_color: { '1': 'COLOR_RED', '2': 'COLOR_GREEN' } },
    ],
    ['maps.sfixed32_value[-1]=%7B%22a%22%3A1%7D', { sfixed32_value: { '-1': { a: 1 } } }],
    ['maps.sfixed64_timestamp[1]=2026-01-01T00:00:00Z', { sfixed64_timestamp: { '1': '2026-01-01T00:00:00Z' } }],
    ['maps.bool_string[true]=a&maps.bool_string[false]=b', { bool_string: { true: 'a', false: 'b' } }],
  ])('%s', (query, maps) => {
    expect(received(`GET /v2/profiles/1?${query}`)).toEqual({ id: '1', maps });
    const asForm = `PUT /v2/profiles`;
    expect(refusal(asForm, query, form).code).toBe('UNKNOWN_FIELD');
  });

  test.each([
    ['maps.string_string[a]=1&maps.stringString[a]=2', 'DUPLICATE_FIELD', 'maps.stringString[a]'],
    ['maps.int32_int64[x]=1', 'INVALID_VALUE', 'maps.int32_int64[x]'],
    ['maps.int32_int64[01]=1', 'INVALID_VALUE', 'maps.int32_int64[01]'],
    ['maps.int32_int64[1]=x', 'INVALID_VALUE', 'maps.int32_int64[1]'],
    ['maps.bool_string[1]=x', 'INVALID_VALUE', 'maps.bool_string[1]'],
    ['maps.string_string=x', 'UNKNOWN_FIELD', 'maps.string_string'],
    ['maps.string_string[a=x', 'UNKNOWN_FIELD', 'maps.string_string[a'],
    ['maps.string_tree[a]=x', 'UNKNOWN_FIELD', 'maps.string_tree[a]'],
    ['key[a]=x', 'UNKNOWN_FIELD', 'key[a]'],
    ['[a]=x', 'UNKNOWN_FIELD', '[a]'],
    ['nope[a]=x', 'UNKNOWN_FIELD', 'nope[a]'],
  ])('refuses %s', (query, code, field) => {
    expect(refusal(`GET /v2/profiles/1?${query}`)).toMatchObject({ code, field });
  });

  test('in forms, and beside what the path sets', () => {
    expect(received('POST /v1/shelves/1/books', 'title=T&labels[a]=b&labels[c]=d', form)).toEqual({
      parent: 'shelves/1',
      book: { title: 'T', labels: { a: 'b', c: 'd' } },
    });
    expect(refusal('POST /v1/shelves/1/books', 'labels[a]=1&labels[a]=2', form)).toMatchObject({
      code: 'DUPLICATE_FIELD',
      field: 'labels',
    });
  });

  test('many keys cost no more each', () => {
    const query = Array.from({ length: 50_000 }, (_, index) => `labels[k${index}]=v`).join('&');
    const book = received('POST /v1/shelves/1/books', query, form) as { book: { labels: object } };
    expect(Object.keys(book.book.labels)).toHaveLength(50_000);
  });
});

describe('masks in the query', () => {
  test.each([
    ['read_mask=nick_name,parent.nick_name', ['nick_name', 'parent.nick_name']],
    ['readMask=nickName,parent.nickName', ['nick_name', 'parent.nick_name']],
    ['read_mask=a&read_mask=b,c&readMask=d', ['a', 'b', 'c', 'd']],
    ['read_mask.paths=a&read_mask.paths=b&read_mask=c', ['a', 'b', 'c']],
    ['read_mask.paths=a,b', ['a', 'b']],
    ['read_mask=address_line_1', ['address_line_1']],
    ['read_mask=addressLine1,parent.addressLine1', ['address_line_1', 'parent.address_line_1']],
    ['read_mask=foo__bar', ['foo__bar']],
    ['read_mask=customName,custom', ['custom', 'custom']],
    ['read_mask=foo_3_bar,some_unknown.otherName', ['foo_3_bar', 'some_unknown.other_name']],
    ['read_mask=', []],
  ])('%s', (query, paths) => {
    expect(pathsOf(`GET /v2/profiles/1?${query}`)).toEqual(paths);
  });

  test.each(['read_mask=a,,b', 'read_mask=,', 'read_mask=a..b'])('refuses %s', (query) => {
    expect(refusal(`GET /v2/profiles/1?${query}`)).toMatchObject({ code: 'INVALID_VALUE', field: 'read_mask' });
  });

  test('parts of well-known types, which exclude the whole', () => {
    expect(received('GET /v2/profiles/1?since.seconds=5&since.nanos=7')).toEqual({
      id: '1',
      since: '1970-01-01T00:00:05.000000007Z',
    });
    expect(refusal('GET /v2/profiles/1?since=2026-01-01T00:00:00Z&since.seconds=5').code).toBe('DUPLICATE_FIELD');
    expect(refusal('GET /v2/profiles/1?since.seconds=5&since=2026-01-01T00:00:00Z').code).toBe('DUPLICATE_FIELD');
    expect(refusal('GET /v1/everything?well_known.any.type_url=x')).toMatchObject({ code: 'UNKNOWN_FIELD' });
  });
});

describe('masks in bodies', () => {
  test.each([
    [
      '{"nickName":"a","addressLine1":"b","parent":{"address_line_1":"c"}}',
      ['nick_name', 'address_line_1', 'parent.address_line_1'],
    ],
    ['{"customName":"a","numbers":[],"parent":null}', ['custom', 'numbers', 'parent']],
  ])('PATCH %s infers them', (body, paths) => {
    expect(pathsOf('PATCH /v2/profiles/1', body)).toEqual(paths);
    expect(pathsOf('PATCH /v2/profiles/1?update_mask=', body)).toEqual(paths);
    expect(pathsOf('PATCH /v2/profiles/1?updateMask=addressLine1', body)).toEqual(['address_line_1']);
    expect(pathsOf('PATCH /v2/profiles/1?update_mask.paths=addressLine1', body)).toEqual(['address_line_1']);
  });

  test('PATCH with a form infers them, too', () => {
    const body = 'nick_name=a&addressLine1=b&parent.address_line_1=c&numbers=1&numbers=2';
    const paths = ['nick_name', 'address_line_1', 'parent.address_line_1', 'numbers'];
    expect(pathsOf('PATCH /v2/profiles/1', body, form)).toEqual(paths);
    expect(pathsOf('PATCH /v2/profiles/1?update_mask=', body, form)).toEqual(paths);
    expect(pathsOf('PATCH /v2/profiles/1?update_mask=foo__bar', body, form)).toEqual(['foo__bar']);
    expect(received('PATCH /v2/profiles/1', 'nickName=a', form)).toEqual({
      profile: { id: '1', nick_name: 'a' },
      update_mask: 'nickName',
    });
  });

  test('a mask in a message names the fields beside it', () => {
    const body = (mask: string): string => JSON.stringify({ profile: {}, updateMask: mask });
    expect(pathsOf('PUT /v2/profiles', body('addressLine1,parent.addressLine1'))).toEqual([
      'address_line_1',
      'parent.address_line_1',
    ]);
    expect(pathsOf('PUT /v2/profiles', body('otherName1'))).toEqual(['other_name1']);
    expect(refusal('PUT /v2/profiles', body('other_name')).code).toBe('INVALID_VALUE');
  });
});

describe('what is left out', () => {
  const of = gateway({ systemParameters: ['key', 'alt', '$*'], ignoreUnknownMembers: true });

  test('system parameters, unless they name a field', () => {
    expect(
      received('GET /v2/profiles/1?alt=json&$alt=x&$.xgafv=2&%24fields=y&key=k', undefined, undefined, of),
    ).toEqual({ id: '1', key: 'k' });
    expect(received('GET /v1/shelves/1/books/2?key=k', undefined, undefined, of)).toEqual({
      name: 'shelves/1/books/2',
    });
    expect(received('POST /v1/shelves/1/books/2:move?key=k&alt=json', '{}', undefined, of)).toEqual({
      name: 'shelves/1/books/2',
    });
    expect(refusal('GET /v2/profiles/1?prettyPrint=true', undefined, undefined, of).field).toBe('prettyPrint');
    expect(refusal('GET /v2/profiles/1?alternative=1', undefined, undefined, of).field).toBe('alternative');
    expect(refusal('GET /v2/profiles/1?alt=json').field).toBe('alt');
  });

  test('members that the schema does not have, at every depth and inside an Any', () => {
    const any = { '@type': 'x/transcode.test.v1.Author', givenName: 'A', nope: [{}] };
    const wrapped = { '@type': 'x/google.protobuf.Timestamp', value: '2026-01-01T00:00:00Z', nope: 1 };
    const body = JSON.stringify({
      nope: { a: [1, { b: null }], c: 'x\\"}' },
      tree: { label: 'l', nope: true, left: { nope: [], label: 'm' } },
      well_known: { anys: [any, wrapped] },
      maps: { fixed64Scalars: { 1: { nope: 1, int32Field: 2 } } },
    });
    expect(received('POST /v1/everything', body, undefined, of)).toEqual({
      tree: { label: 'l', left: { label: 'm' } },
      well_known: {
        anys: [
          { '@type': 'x/transcode.test.v1.Author', given_name: 'A' },
          { '@type': 'x/google.protobuf.Timestamp', value: '2026-01-01T00:00:00Z' },
        ],
      },
      maps: { fixed64_scalars: { 1: { int32_field: 2 } } },
    });
    expect(refusal('POST /v1/everything', body).code).toBe('UNKNOWN_FIELD');
  });

  test('names of enum values that the schema does not have', () => {
    const body = JSON.stringify({
      scalars: { colorField: 'COLOR_PINK', int32Field: 1 },
      optionals: { colorField: 'COLOR_PINK' },
      lists: { colorField: ['COLOR_RED', 'COLOR_PINK', 'COLOR_GREEN'] },
      maps: { fixed32Color: { 1: 'COLOR_PINK', 2: 'COLOR_RED' } },
      choice: { color: 'COLOR_PINK' },
    });
    expect(received('POST /v1/everything', body, undefined, of)).toEqual({
      scalars: { int32_field: 1 },
      optionals: {},
      lists: { color_field: ['COLOR_RED', 'COLOR_GREEN'] },
      maps: { fixed32_color: { 2: 'COLOR_RED' } },
      choice: {},
    });
    expect(refusal('POST /v1/everything', body).code).toBe('INVALID_VALUE');
  });

  test.each([
    '{"nope":[1 2]}',
    '{"nope":{"a" 1}}',
    '{"nope":[,]}',
    '{"nope":tru}',
    '{"nope":"\\x"}',
    '{"nope":[1}',
    `{"nope":${'['.repeat(10_000)}`,
  ])('what is left out is JSON all the same: %s', (body) => {
    expect(refusal('POST /v1/everything', body, undefined, of).code).toBe('INVALID_JSON');
  });
});

describe('rules beyond http.proto', () => {
  test('a repeated field in the path, with commas between its items', () => {
    expect(received('GET /v2/batch/a,b%2Cc,/COLOR_RED,2/2026-01-01T00:00:00Z')).toEqual({
      ids: ['a', 'b,c', ''],
      colors: ['COLOR_RED', 'COLOR_GREEN'],
      moments: ['2026-01-01T00:00:00Z'],
    });
    expect(refusal('GET /v2/batch/a/COLOR_PINK/x')).toMatchObject({ code: 'INVALID_VALUE', field: 'colors' });
    expect(received('GET /v2/batch/a/1/2026-01-01T00:00:00Z?ids=b')).toMatchObject({ ids: ['a', 'b'] });
  });

  test('a body that is a field of a field', () => {
    const target = 'POST /v2/wrap/n/t?envelope.seal=s&other=o';
    const expected = { name: 'n', other: 'o', envelope: { note: 't', seal: 's', profile: { nick_name: 'x' } } };
    expect(received(target, '{"nickName":"x"}')).toEqual(expected);
    expect(received(target, 'nickName=x', form)).toEqual(expected);
    expect(received(target, 'null')).toEqual({ ...expected, envelope: { note: 't', seal: 's' } });
    expect(received(target)).toEqual({ ...expected, envelope: { note: 't', seal: 's' } });
    expect(refusal(`${target}&envelope.profile.id=1`, '{}')).toMatchObject({
      code: 'UNKNOWN_FIELD',
      field: 'envelope.profile.id',
    });
    const { binding } = strict.find(target);
    const answer = (text: string): string =>
      Buffer.from(binding.decodeResponse(strict.encode(target, text)).body).toString();
    expect(JSON.parse(answer('{"nickName":"x","numbers":[1]}'))).toMatchObject({ nickName: 'x', numbers: [1] });
    expect(Buffer.from(binding.decodeResponse(new Uint8Array(0)).body).toString()).toBe('null');
  });
});

describe('a body of the wrong type', () => {
  const secret = 'hunter2';
  const json = JSON.stringify({ title: secret });

  test.each([
    ['JSON sent as a form', json, form, 'UNSUPPORTED_MEDIA_TYPE', 'send "content-type: application/json"'],
    [
      'JSON sent as a form, after white space',
      ` \n${json}`,
      form,
      'UNSUPPORTED_MEDIA_TYPE',
      'send "content-type: application/json"',
    ],
    [
      'a JSON array sent as a form',
      `[${json}]`,
      form,
      'UNSUPPORTED_MEDIA_TYPE',
      'send "content-type: application/json"',
    ],
    ['JSON, encoded, sent as a form', encodeURIComponent(json), form, 'UNKNOWN_FIELD', 'parameter 1 of the form'],
    [
      'plain text sent as a form',
      secret,
      form,
      'UNKNOWN_FIELD',
      'parameter 1 of the form is no field of transcode.test.v1.Book, which has name, title',
    ],
    ['base64 sent as a form', `${secret}==`, form, 'UNKNOWN_FIELD', 'parameter 1'],
    [
      'a value that its field cannot take',
      `title=x&pages=${secret}`,
      form,
      'INVALID_VALUE',
      '"pages": its value is no int64',
    ],
    ['a broken escape', `title=${secret}%zz`, form, 'INVALID_PATH', 'not percent-encoded'],
    ['a form without a type', `title=${secret}`, undefined, 'INVALID_JSON', 'no Content-Type'],
    [
      'a form without a type whose first letter is that of null',
      `name=${secret}`,
      undefined,
      'INVALID_JSON',
      'no Content-Type',
    ],
    ['text without a type', `"${secret}"`, undefined, 'INVALID_VALUE', 'send "content-type: application/json"'],
    ['broken JSON without a type', `{"title":"${secret}`, undefined, 'INVALID_JSON', 'no Content-Type'],
    [
      'another type',
      json,
      'text/plain',
      'UNSUPPORTED_MEDIA_TYPE',
      'its Content-Type is "text/plain"; send "content-type: application/json"',
    ],
  ])('%s', (_, body, type, code, text) => {
    const error = refusal('POST /v1/shelves/1/books', body, type);
    expect(error.code).toBe(code);
    expect(error.message).toContain(text);
    expect(`${error.message} ${error.field}`).not.toContain(secret);
  });

  test('JSON without a type is read, and its own faults are told as they are', () => {
    expect(received('POST /v1/shelves/1/books', json)).toEqual({ parent: 'shelves/1', book: { title: secret } });
    expect(refusal('POST /v1/shelves/1/books', '{"nope":1}').message).not.toContain('Content-Type');
  });
});
