import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import { gateway, schema } from '../testdata/load.js';
import { compileBindings, compileRules } from './binding.js';
import type { RouteOptions } from './binding.js';
import { SchemaError } from './errors.js';
import type { HttpRuleOverride } from './http/rule.js';
import { loadSchema, methodOption } from './schema.js';

describe('loading a descriptor set', () => {
  test('methods with their kinds, files and options', () => {
    const { methods } = schema;
    expect(methods.get('/transcode.test.v1.Library/GetBook')).toMatchObject({
      service: 'transcode.test.v1.Library',
      name: 'GetBook',
      kind: 'unary',
      idempotency: 'no_side_effects',
      file: 'transcode/test/v1/library.proto',
    });
    expect([...methods.values()].map(({ name, kind }) => `${name} ${kind}`)).toEqual(
      expect.arrayContaining(['Watch server_stream', 'Upload client_stream', 'Talk bidi']),
    );
    const get = methods.get('/transcode.test.v1.Library/GetBook')!;
    expect(methodOption(schema, get, 'transcode.test.v1.audit')).toEqual({ event_name: 'book.read', is_public: true });
    expect(methodOption(schema, get, 'no.such.option')).toBeUndefined();
    const list = methods.get('/transcode.test.v1.Library/ListBooks')!;
    expect(methodOption(schema, list, 'transcode.test.v1.audit')).toBeUndefined();
  });

  test.each([
    ['nothing', new Uint8Array(0), 'not a protobuf FileDescriptorSet'],
    ['text', Buffer.from('syntax = "proto3";'), 'not a protobuf FileDescriptorSet'],
    ['JSON', Buffer.from('{"file":[]}'), 'not a protobuf FileDescriptorSet'],
  ])('refuses %s', (_, bytes, reason) => {
    expect(() => loadSchema(bytes, 'my.binpb')).toThrow(SchemaError);
    expect(() => loadSchema(bytes, 'my.binpb')).toThrow(`my.binpb: ${reason}`);
  });

  function setOf(...files: MessageInitShape<typeof FileDescriptorProtoSchema>[]): Uint8Array {
    const file = files.map((one) => create(FileDescriptorProtoSchema, { ...one, syntax: 'proto3' }));
    return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file }));
  }

  test('names the imports that are missing and who wants them', () => {
    const set = setOf(
      { name: 'a.proto', dependency: ['google/api/annotations.proto', 'b.proto'] },
      { name: 'b.proto' },
    );
    expect(() => loadSchema(set, 'my.binpb')).toThrow(
      'my.binpb: imports are missing: google/api/annotations.proto (imported by a.proto)',
    );
  });

  const service = (name: string) => ({ service: [{ name }] });

  test('of protoc, services of another package that are only imported are known as such', () => {
    const set = setOf(
      { name: 'ops.proto', package: 'google.longrunning', ...service('Operations') },
      { name: 'b.proto', package: 'acme', ...service('B') },
      { name: 'a.proto', package: 'acme', dependency: ['ops.proto', 'b.proto'], ...service('A') },
    );
    expect([...loadSchema(set, 'x').importedServices]).toEqual(['google.longrunning.Operations']);
  });

  test('of buf, what it marks as an import', () => {
    // Each file is followed by the field that marks it: 8042, of two octets, whose field 1 says whether it is an import.
    const marked = (isImport: boolean, file: MessageInitShape<typeof FileDescriptorProtoSchema>) => {
      const message = create(FileDescriptorProtoSchema, { ...file, syntax: 'proto3' });
      message.$unknown = [{ no: 8042, wireType: 2, data: new Uint8Array([2, 8, isImport ? 1 : 0]) }];
      return message;
    };
    const file = [
      marked(true, { name: 'ops.proto', package: 'acme', ...service('Operations') }),
      marked(false, { name: 'b.proto', package: 'other', ...service('B') }),
      marked(false, { name: 'a.proto', package: 'acme', dependency: ['ops.proto', 'b.proto'], ...service('A') }),
    ];
    const set = toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file }));
    expect([...loadSchema(set, 'x').importedServices]).toEqual(['acme.Operations']);
  });

  test('takes the files in any order, but no circle', () => {
    expect(() =>
      loadSchema(setOf({ name: 'a.proto', dependency: ['b.proto'] }, { name: 'b.proto' }), 'x'),
    ).not.toThrow();
    const circle = setOf({ name: 'a.proto', dependency: ['b.proto'] }, { name: 'b.proto', dependency: ['a.proto'] });
    expect(() => loadSchema(circle, 'x')).toThrow('imports itself');
  });
});

describe('rules', () => {
  const service = 'transcode.test.v1.Library';
  function routes(options: RouteOptions): string[] {
    return compileBindings(schema, options).map(({ httpMethod, template }) => `${httpMethod} ${template.source}`);
  }
  function overridden(rule: Omit<HttpRuleOverride, 'selector'>, method = 'GetBook'): string[] {
    return routes({ overrides: [{ selector: `${service}.${method}`, ...rule }] });
  }

  test('annotations with their additional bindings', () => {
    expect(routes({})).toEqual(
      expect.arrayContaining([
        'GET /v1/{name=shelves/*/books/*}',
        'GET /v1/books/{name}',
        '* /v1/raw',
        'GET /v1/everything',
      ]),
    );
    expect(routes({}).some((route) => route.includes('Unannotated'))).toBe(false);
  });

  test('an override replaces the annotation, and the last one wins', () => {
    const selector = `${service}.GetBook`;
    const all = routes({
      overrides: [
        { selector, get: '/a' },
        { selector, post: '/b/{name}', body: '*' },
      ],
    });
    expect(all).toContain('POST /b/{name}');
    expect(all).not.toContain('GET /a');
    expect(all).not.toContain('GET /v1/books/{name}');
  });

  test('prefix, services and defaults', () => {
    expect(routes({ pathPrefix: '/library' })).toContain('GET /library/v1/books:search');
    const own = routes({}).filter((rule) => !rule.includes(' /v2/'));
    expect(routes({ services: [service] })).toEqual(own);
    expect(() => routes({ services: ['other.Service'] })).toThrow('services: "other.Service" is none of');
    expect(() => routes({ maxDepth: 0 })).toThrow('maxDepth: 0 is not');
    expect(() => routes({ maxDepth: 100_000 })).toThrow('maxDepth: 100000 is not');
    expect(routes({ pathPrefix: '/x', overrides: [{ selector: `${service}.GetBook`, get: '/' }] })).toContain('GET /x');
    const verb = { selector: `${service}.GetBook`, get: '/:verb' };
    expect(routes({ pathPrefix: '/x', overrides: [verb] })).toContain('GET /x:verb');
    expect(routes({ overrides: [verb] })).toContain('GET /:verb');
    const { encode } = gateway({ unannotated: 'post' });
    expect([...encode('POST /transcode.test.v1.Library/Unannotated', '{"name":"a"}')]).toEqual([0x0a, 1, 0x61]);
  });

  test.each([
    [{ get: '/v1/{nope}' }, 'variable "nope": transcode.test.v1.GetBookRequest has no field "nope"'],
    [{ get: '/v1/{name.x}' }, 'variable "name.x": "name" has no fields'],
    [{ post: '/v1/x', body: 'nope' }, 'body "nope" is no field of transcode.test.v1.GetBookRequest'],
    [{ get: '/v1/x', response_body: 'nope' }, 'response_body "nope" is no field of transcode.test.v1.Book'],
    [{ get: '/v1/x', body: '*' }, 'GET takes no body'],
    [{ get: '/v1/{name' }, 'path template "/v1/{name": expected "}"'],
    [{ post: '/v1/{name}', body: 'name' }, 'the body sets this field'],
    [{}, 'the rule has no pattern'],
    [{ get: '/a', put: '/b' }, 'several patterns'],
    [{ custom: { kind: 'G T', path: '/a' } }, 'is not an HTTP method'],
    [{ get: '/a', additional_bindings: [{ get: '/b', additional_bindings: [{ get: '/c' }] }] }, 'must not be nested'],
  ] as const)('refuses %j and names file, method and rule', (rule, reason) => {
    expect(() => overridden(rule as Omit<HttpRuleOverride, 'selector'>)).toThrow(reason);
    expect(() => overridden(rule as Omit<HttpRuleOverride, 'selector'>)).toThrow(
      'everything.binpb: transcode.test.v1.Library.GetBook',
    );
  });

  test.each([
    ['{ids=**}', 'it is repeated, and takes several segments'],
    ['{labels}', 'is a map'],
    ['{filter}', 'is a message'],
    ['{filters}', 'is a message'],
  ])('refuses the variable %s', (variable, reason) => {
    expect(() => overridden({ get: `/v1/${variable}` }, 'ListBooks')).toThrow(reason);
  });

  test('none: true takes an annotation away, also that of unannotated: post', () => {
    const rule = { selector: `${service}.GetBook`, none: true };
    expect(routes({ overrides: [rule] })).not.toContain('GET /v1/books/{name}');
    const unannotated = { selector: `${service}.Unannotated`, none: true };
    expect(
      routes({ overrides: [unannotated], unannotated: 'post' }).some((route) => route.includes('Unannotated')),
    ).toBe(false);
    expect(() => routes({ overrides: [unannotated] })).toThrow('there is no rule to take away');
    expect(() => routes({ overrides: [{ ...rule, get: '/x' }] })).toThrow('none: true stands beside a pattern');
  });

  test('every rule that cannot be used is told at once with its place, and costs no other', () => {
    const overrides = [
      {
        selector: `${service}.GetBook`,
        get: '/a/{nope}',
        additional_bindings: [{ get: '/b/{name}' }, { get: '/c/{' }],
      },
      { selector: `${service}.ListBooks`, post: '/d', body: 'nope' },
    ];
    const { bindings, faults } = compileRules(schema, { overrides });
    expect(faults.map(({ place, method }) => [place, method?.name])).toEqual([
      [{ override: 0 }, 'GetBook'],
      [{ override: 0, additional: 1 }, 'GetBook'],
      [{ override: 1 }, 'ListBooks'],
    ]);
    expect(bindings.filter(({ method }) => method.name === 'GetBook').map(({ template }) => template.source)).toEqual([
      '/b/{name}',
    ]);
    expect(bindings.length).toBeGreaterThan(5);
    expect(() => compileBindings(schema, { overrides })).toThrow(/nope[^]*body "nope"/);
  });

  test('an override that selects nothing', () => {
    expect(() => routes({ overrides: [{ selector: 'a.B.C', get: '/x' }] })).toThrow('selector "a.B.C" names no method');
  });

  test('rules that match the same requests are refused with both names', () => {
    const selector = `${service}.Unannotated`;
    expect(() => gateway({ overrides: [{ selector, get: '/v1/{title=shelves/*}/books' }] })).toThrow(
      /two rules match the same requests: .*ListBooks \[GET .*\] and .*Unannotated \[GET /,
    );
  });
});
