import { fromBinary, toJson } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { gateway, schema } from '../../testdata/load.js';
import { TranscodeError } from '../errors.js';

const { encode, find } = gateway();

/** The request message as the upstream reads it, in JSON with proto names. */
function received(request: string, body?: string, contentType?: string): unknown {
  const { binding } = find(request);
  const message = fromBinary(binding.method.desc.input, encode(request, body, contentType));
  return toJson(binding.method.desc.input, message, { useProtoFieldName: true, registry: schema.registry });
}

function refusal(request: string, body?: string, contentType?: string): TranscodeError {
  try {
    encode(request, body, contentType);
  } catch (error) {
    if (error instanceof TranscodeError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

describe('path variables', () => {
  test.each([
    ['GET /v1/shelves/1/books/2', { name: 'shelves/1/books/2' }],
    ['GET /v1/books/a%2Fb%20%C3%A9', { name: 'a/b é' }],
    ['GET /v1/shelves/a%2Fb/books/c%20d', { name: 'shelves/a%2Fb/books/c d' }],
    ['GET /v1/shelves/a%2fb/books/+', { name: 'shelves/a%2fb/books/+' }],
    ['GET /v1/books/a:b', { name: 'a:b' }],
    ['GET /v1/books/..', { name: '..' }],
    ['GET /v1/books/__proto__', { name: '__proto__' }],
    ['DELETE /v1/shelves/1/books/2', { name: 'shelves/1/books/2' }],
    ['GET /v1/files/a/b.txt', { path: 'a/b.txt' }],
    ['GET /v1/files', {}],
  ])('%s', (request, expected) => {
    expect(received(request)).toEqual(expected);
  });

  test('of numbers and enums', () => {
    expect(received('POST /v1/tags/18446744073709551615/COLOR_RED', '["a"]')).toEqual({
      id: '18446744073709551615',
      kind: 'COLOR_RED',
      tags: ['a'],
    });
    expect(received('POST /v1/tags/7/2', '[]')).toEqual({ id: '7', kind: 'COLOR_GREEN' });
  });

  test.each([
    ['POST /v1/tags/-1/1', 'INVALID_VALUE', 'id'],
    ['POST /v1/tags/x/1', 'INVALID_VALUE', 'id'],
    ['POST /v1/tags/18446744073709551616/1', 'INVALID_VALUE', 'id'],
    ['POST /v1/tags/1/COLOR_PINK', 'INVALID_VALUE', 'kind'],
    ['GET /v1/books/%ff', 'INVALID_PATH', 'name'],
    ['GET /v1/books/%zz', 'INVALID_PATH', 'name'],
    ['GET /v1/books/%', 'INVALID_PATH', 'name'],
  ])('refuses %s', (request, code, field) => {
    expect(refusal(request, '[]'.slice(0, request.startsWith('POST') ? 2 : 0))).toMatchObject({ code, field });
  });
});

describe('query parameters', () => {
  const list = 'GET /v1/shelves/1/books';
  test.each([
    ['', {}],
    ['&&', {}],
    ['pageSize=5&page_token=a%26b+c', { page_size: 5, page_token: 'a&b c' }],
    ['page_token=', {}],
    ['page_token', {}],
    ['page_token=a=b', { page_token: 'a=b' }],
    [
      'filter.title=x&filter.author.givenName=Ada&filter.author.favourite=COLOR_RED',
      { filter: { title: 'x', author: { given_name: 'Ada', favourite: 'COLOR_RED' } } },
    ],
    [
      'filter.topics=a&filter.topics=b&filter.parent.title=y',
      { filter: { topics: ['a', 'b'], parent: { title: 'y' } } },
    ],
    ['colors=COLOR_RED&colors=2&colors=-1', { colors: ['COLOR_RED', 'COLOR_GREEN', 'COLOR_NEGATIVE'] }],
    ['since=2026-11-22T10:00:00.5%2B02:00', { since: '2026-11-22T08:00:00.500Z' }],
    ['max_age=1.5s', { max_age: '1.500s' }],
    ['mask=title,author.givenName,page_size', { mask: 'title,author.givenName,pageSize' }],
    ['limit=9007199254740993&strict=false', { limit: '9007199254740993', strict: false }],
    ['cursor=_-8', { cursor: '/+8=' }],
    ['score=-1e3', { score: -1000 }],
    ['score=NaN', { score: 'NaN' }],
    ['anything=%7B%22a%22:[1]%7D', { anything: { a: [1] } }],
    ['ids=1&ids=18446744073709551615', { ids: ['1', '18446744073709551615'] }],
    ['moments=2026-01-01T00:00:00Z', { moments: ['2026-01-01T00:00:00Z'] }],
    ['ascending=a', { ascending: 'a' }],
    ['%70ageSize=5', { page_size: 5 }],
  ])('%s', (query, expected) => {
    expect(received(`${list}?${query}`)).toEqual({ parent: 'shelves/1', ...expected });
  });

  test.each([
    ['unknown=1', 'UNKNOWN_FIELD', 'unknown'],
    ['filter.unknown=1', 'UNKNOWN_FIELD', 'filter.unknown'],
    ['filter=1', 'UNKNOWN_FIELD', 'filter'],
    ['filters=1', 'UNKNOWN_FIELD', 'filters'],
    ['filters.title=1', 'UNKNOWN_FIELD', 'filters.title'],
    ['labels=1', 'UNKNOWN_FIELD', 'labels'],
    ['since.minutes=1', 'UNKNOWN_FIELD', 'since.minutes'],
    ['page_token.x=1', 'UNKNOWN_FIELD', 'page_token.x'],
    ['.=1', 'UNKNOWN_FIELD', '.'],
    ['=1', 'UNKNOWN_FIELD', ''],
    ['__proto__=1', 'UNKNOWN_FIELD', '__proto__'],
    ['constructor=1', 'UNKNOWN_FIELD', 'constructor'],
    [`${'filter.parent.'.repeat(50)}title=1`, 'UNKNOWN_FIELD', undefined],
    ['parent=x', 'DUPLICATE_FIELD', 'parent'],
    ['pageSize=1&page_size=1', 'DUPLICATE_FIELD', 'page_size'],
    ['ascending=a&descending=b', 'DUPLICATE_FIELD', 'descending'],
    ['pageSize=x', 'INVALID_VALUE', 'pageSize'],
    ['pageSize=', 'INVALID_VALUE', 'pageSize'],
    ['pageSize=1.5', 'INVALID_VALUE', 'pageSize'],
    ['pageSize=2147483648', 'INVALID_VALUE', 'pageSize'],
    ['pageSize=0x10', 'INVALID_VALUE', 'pageSize'],
    ['strict=yes', 'INVALID_VALUE', 'strict'],
    ['since=yesterday', 'INVALID_VALUE', 'since'],
    ['since=2026-02-30T00:00:00Z', 'INVALID_VALUE', 'since'],
    ['cursor=*', 'INVALID_VALUE', 'cursor'],
    ['anything={', 'INVALID_VALUE', 'anything'],
    ['colors=PINK', 'INVALID_VALUE', 'colors'],
    ['page_token=%', 'INVALID_PATH', undefined],
    ['page_token=%ff', 'INVALID_PATH', undefined],
  ])('refuses %s', (query, code, field) => {
    expect(refusal(`${list}?${query}`)).toMatchObject({ code, ...(field === undefined ? {} : { field }) });
  });

  test('unknown ones are left out where the upstream is set so, known ones are still checked', () => {
    const lenient = gateway({ ignoreUnknownQuery: true });
    expect(lenient.encode('GET /v1/books/x?utm=1&full=true')).toEqual(encode('GET /v1/books/x?full=true'));
    expect(() => lenient.encode('GET /v1/books/x?full=1')).toThrow('true or false');
    expect(() => lenient.encode('GET /v1/books/x?name=y')).toThrow('set already');
  });

  test('names are not kept without bound', () => {
    for (let i = 0; i < 3000; i++) expect(refusal(`${list}?u${i}=1`).code).toBe('UNKNOWN_FIELD');
  });
});

describe('bodies', () => {
  test('"*" sets what the path does not', () => {
    const move = 'POST /v1/shelves/1/books/2:move';
    expect(received(move, '{"destination":"x","by":{"givenName":"Ada"}}')).toEqual({
      name: 'shelves/1/books/2',
      destination: 'x',
      by: { given_name: 'Ada' },
    });
    expect(received(move)).toEqual({ name: 'shelves/1/books/2' });
    expect(received(move, '{"name":null}')).toEqual({ name: 'shelves/1/books/2' });
    expect(refusal(move, '{"destination":"x","name":"y"}')).toMatchObject({
      code: 'DUPLICATE_FIELD',
      field: 'name',
      position: { offset: 19, line: 1, column: 20 },
    });
    expect(refusal(`${move}?destination=x`, '{}')).toMatchObject({ code: 'UNKNOWN_FIELD', field: 'destination' });
  });

  test('a field is set by the body, the others by the query', () => {
    const create = 'POST /v1/shelves/1/books?requestId=r';
    expect(received(create, '{"title":"T"}')).toEqual({ parent: 'shelves/1', request_id: 'r', book: { title: 'T' } });
    expect(received(create, 'null')).toEqual({ parent: 'shelves/1', request_id: 'r' });
    expect(refusal(`${create}&book.title=x`, '{}')).toMatchObject({ code: 'UNKNOWN_FIELD', field: 'book.title' });
    expect(refusal(create, '[]')).toMatchObject({ code: 'INVALID_VALUE' });
  });

  test('a variable inside the body field is merged into it, and must not be in the body', () => {
    const update = 'PATCH /v1/shelves/1/books/2?updateMask=title';
    const bytes = encode(update, '{"title":"T","author":{"givenName":"Ada"}}');
    expect(received(update, '{"title":"T","author":{"givenName":"Ada"}}')).toEqual({
      book: { name: 'shelves/1/books/2', title: 'T', author: { given_name: 'Ada' } },
      update_mask: 'title',
    });
    // Once, because not every receiver merges a message that comes in two parts.
    expect(Buffer.from(bytes).toString('latin1').split('shelves/1').length).toBe(2);
    expect(refusal(update, '{"name":"x"}')).toMatchObject({ code: 'DUPLICATE_FIELD', field: 'name' });
    expect(received('PATCH /v1/shelves/1/books/2')).toEqual({ book: { name: 'shelves/1/books/2' } });
  });

  test.each([
    [
      '{"title":"T","author":{"givenName":"Ada"},"topics":[],"details":{"a":1}}',
      'title,author.givenName,topics,details',
    ],
    ['{"author":{"givenName":"Ada","family_name":"L"},"pages":null}', 'author.givenName,author.familyName,pages'],
    ['{"author":{}}', 'author'],
    ['{"labels":{"a":"b"},"published":"2026-01-01T00:00:00Z"}', 'labels,published'],
  ])('a PATCH without a mask changes what its body has: %s', (body, mask) => {
    expect(received('PATCH /v1/shelves/1/books/2', body)).toMatchObject({ update_mask: mask });
    expect(received('PATCH /v1/shelves/1/books/2?updateMask=', body)).toMatchObject({ update_mask: mask });
    expect(received('PATCH /v1/shelves/1/books/2?update_mask=isbn', body)).toMatchObject({ update_mask: 'isbn' });
  });

  test('parameters that name no field are left out of the query and the form of lenient methods alone', () => {
    const type = 'application/x-www-form-urlencoded';
    const target = 'POST /v1/shelves/1/books/2:move?state=x';
    const lenient = gateway({ lenientParams: ({ name }) => name === 'MoveBook' });
    const message = lenient.encode(target, 'destination=a&client_id=b', type);
    expect(message).toEqual(encode('POST /v1/shelves/1/books/2:move', 'destination=a', type));
    expect(() => lenient.encode('POST /v1/shelves/1/books', 'title=T&client_id=b', type)).toThrow('client_id');
  });

  test('forms', () => {
    const type = 'application/x-www-form-urlencoded; charset=UTF-8';
    expect(received('POST /v1/shelves/1/books/2:move', 'destination=a+b%26&by.given_name=Ada', type)).toEqual({
      name: 'shelves/1/books/2',
      destination: 'a b&',
      by: { given_name: 'Ada' },
    });
    expect(received('POST /v1/shelves/1/books', 'title=T&topics=a&topics=b', type)).toEqual({
      parent: 'shelves/1',
      book: { title: 'T', topics: ['a', 'b'] },
    });
    expect(refusal('POST /v1/shelves/1/books/2:move', 'name=x', type)).toMatchObject({ code: 'DUPLICATE_FIELD' });
    expect(refusal('POST /v1/shelves/1/books/2:move', '{"a":1}', type)).toMatchObject({
      code: 'UNSUPPORTED_MEDIA_TYPE',
    });
    expect(refusal('POST /v1/tags/1/1', 'tags=a', type)).toMatchObject({ code: 'UNSUPPORTED_MEDIA_TYPE', status: 415 });
  });

  test.each([
    [undefined, true],
    ['application/json', true],
    ['Application/JSON ; Charset="utf-8"', true],
    ['application/vnd.api+json', true],
    ['application/json; charset=iso-8859-1', false],
    ['text/plain', false],
    ['application/xml', false],
    ['application/grpc', false],
    ['multipart/form-data; boundary=x', false],
    ['nonsense', false],
  ])('content type %s', (type, accepted) => {
    if (accepted) expect(received('POST /v1/shelves/1/books', '{"title":"T"}', type)).toHaveProperty('book');
    else expect(refusal('POST /v1/shelves/1/books', '{"title":"T"}', type).status).toBe(415);
  });

  test('a rule without a body takes none', () => {
    expect(received('DELETE /v1/shelves/1/books/2', ' {} ', 'application/json')).toEqual({ name: 'shelves/1/books/2' });
    expect(refusal('DELETE /v1/shelves/1/books/2', '{"full":true}')).toMatchObject({ code: 'UNEXPECTED_BODY' });
  });

  test('HttpBody takes any type and any bytes', () => {
    const bytes = Buffer.from([0, 255, 10]);
    const { binding } = find('PUT /v1/files/a/b');
    const write = fromBinary(binding.method.desc.input, encode('PUT /v1/files/a/b?overwrite=true', bytes, 'image/png'));
    expect(toJson(binding.method.desc.input, write)).toEqual({
      path: 'a/b',
      overwrite: true,
      content: { contentType: 'image/png', data: 'AP8K' },
    });
    expect(received('PROPFIND /v1/raw', '{', 'x/y')).toEqual({ content_type: 'x/y', data: 'ew==' });
    expect(received('POST /v1/raw')).toEqual({});
  });

  test('required fields must be there', () => {
    expect(received('POST /v1/strict/a', '{"id":"b","list":[{"id":"c"}]}')).toEqual({
      id: 'a',
      nested: { id: 'b', list: [{ id: 'c' }] },
    });
    expect(refusal('POST /v1/strict/a', '{"id":"b","list":[{}]}')).toMatchObject({
      code: 'MISSING_FIELD',
      field: 'nested.list.id',
    });
    expect(refusal('POST /v1/strict/a', '{}')).toMatchObject({ code: 'MISSING_FIELD', field: 'nested.id' });
  });
});
