// CPU microseconds per operation beside @bufbuild/protobuf and, where installed, protobufjs:
//   npx tsc -b libs/transcode && node libs/transcode/src/transcode.bench.ts
// Rounds alternate between the implementations and the median counts, so that the ratios hold on a busy machine.
import { readFileSync } from 'node:fs';
import { fromBinary, fromJsonString, toBinary, toJsonString } from '@bufbuild/protobuf';
import { RouteTable, compileBindings, loadSchema, messageCodec } from '@sluice/transcode';

type Operation = () => unknown;

const schema = loadSchema(readFileSync(new URL('../testdata/everything.binpb', import.meta.url)), 'everything.binpb');
const { registry } = schema;

const book = {
  name: 'shelves/1/books/2',
  title: 'A "quoted" title',
  pages: '1234',
  author: { givenName: 'Ada', familyName: 'Lovelace', favourite: 'COLOR_GREEN' },
  topics: ['computing', 'poetry', 'weaving'],
  published: '1843-09-01T12:30:00Z',
  labels: { language: 'en', binding: 'cloth' },
  details: { width: 12.5, tags: ['a', 'b'], notes: null },
};

const cases: Record<string, { type: string; json: string }> = {
  '3 fields': { type: 'Author', json: '{"givenName":"Ada","familyName":"Lovelace","favourite":"COLOR_GREEN"}' },
  'one book, 330 B': { type: 'Book', json: JSON.stringify(book) },
  '200 books, 65 KB': {
    type: 'ListBooksResponse',
    json: JSON.stringify({ books: Array.from({ length: 200 }, () => book) }),
  },
  'one string of 100 KB': { type: 'Author', json: JSON.stringify({ givenName: 'x'.repeat(100_000) }) },
  '10 000 integers': {
    type: 'Lists',
    json: JSON.stringify({ int32Field: Array.from({ length: 10_000 }, (_, i) => i * 7919) }),
  },
};

/** The compiler works in the background of the first half second, on the same CPU clock. */
const warmUpMicros = 400_000;

/** Repeats an operation for so much CPU time. @returns how often */
function run(operation: Operation, micros: number): number {
  const start = process.cpuUsage();
  let count = 0;
  while (cpu(start) < micros) {
    operation();
    count++;
  }
  return count;
}

/** Median CPU time of each operation, in microseconds. */
function measure(operations: Record<string, Operation>): Record<string, number> {
  const names = Object.keys(operations);
  const counts = new Map<string, number>();
  for (const name of names) {
    run(operations[name]!, warmUpMicros);
    counts.set(name, Math.max(1, Math.round(run(operations[name]!, 30_000))));
  }
  const samples = new Map<string, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round < 9; round++) {
    for (const name of names) {
      const operation = operations[name]!;
      const count = counts.get(name)!;
      const start = process.cpuUsage();
      for (let i = 0; i < count; i++) operation();
      samples.get(name)!.push(cpu(start) / count);
    }
  }
  return Object.fromEntries(names.map((name) => [name, samples.get(name)!.sort((a, b) => a - b)[4]!]));
}

function cpu(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start);
  return user + system;
}

function report(title: string, operations: Record<string, Operation>): void {
  const results = measure(operations);
  const own = results['own']!;
  const cells = Object.entries(results).map(([name, time]) => {
    const ratio = name === 'own' ? '' : ` (${(time / own).toFixed(1)}x)`;
    return `${name} ${time < 100 ? time.toFixed(2) : time.toFixed(0)}${ratio}`;
  });
  process.stdout.write(`${title.padEnd(40)} ${cells.join('   ')}\n`);
}

interface PeerType {
  fromObject(value: unknown): unknown;
  encode(message: unknown): { finish(): Uint8Array };
  decode(bytes: Uint8Array): unknown;
  toObject(message: unknown, options: object): unknown;
}

/** The types of protobufjs that need no well-known types, which it reads only through wrappers of its own. */
async function protobufjs(): Promise<Record<string, PeerType>> {
  try {
    const { default: peer } = (await import('protobufjs' as string)) as {
      default: { parse(source: string): { root: { lookupType(name: string): PeerType } } };
    };
    const { root } = peer.parse(`syntax = "proto3";
      enum Color { COLOR_UNSPECIFIED = 0; COLOR_RED = 1; COLOR_GREEN = 2; }
      message Author { string given_name = 1; string family_name = 2; Color favourite = 3; }
      message Lists { repeated int32 int32_field = 3; }`);
    return { Author: root.lookupType('Author'), Lists: root.lookupType('Lists') };
  } catch {
    return {};
  }
}

const peers = await protobufjs();
for (const [title, { type, json }] of Object.entries(cases)) {
  const desc = registry.getMessage(`transcode.test.v1.${type}`)!;
  const codec = messageCodec(schema, desc.typeName, { printDefaults: false })!;
  const text = Buffer.from(json);
  const bytes = codec.fromJson(text);
  const peer = peers[type];
  report(`JSON to protobuf, ${title}`, {
    own: () => codec.fromJson(text),
    'JSON.parse alone': () => JSON.parse(text.toString()) as unknown,
    'protobuf-es': () => toBinary(desc, fromJsonString(desc, text.toString(), { registry })),
    ...(peer && { protobufjs: () => peer.encode(peer.fromObject(JSON.parse(text.toString()))).finish() }),
  });
  report(`protobuf to JSON, ${title}`, {
    own: () => codec.toJson(bytes),
    'protobuf-es': () => Buffer.from(toJsonString(desc, fromBinary(desc, bytes), { registry })),
    ...(peer && {
      protobufjs: () =>
        Buffer.from(JSON.stringify(peer.toObject(peer.decode(bytes), { enums: String, longs: String }))),
    }),
  });
}

const table = new RouteTable<undefined>();
for (const binding of compileBindings(schema)) table.add(binding, undefined);
report('match a path with a variable', { own: () => table.match('GET', '/v1/shelves/12/books/345') });
const move = table.match('POST', '/v1/shelves/12/books/345:move');
if (move.kind === 'found') {
  const body = Buffer.from('{"destination":"shelves/9","by":{"givenName":"Ada"}}');
  const answer = messageCodec(schema, 'transcode.test.v1.Book')!.fromJson(
    Buffer.from('{"name":"shelves/9/books/345","pages":"7"}'),
  );
  report('a whole call: match, request, response', {
    own: () => {
      const found = table.match('POST', '/v1/shelves/12/books/345:move');
      if (found.kind !== 'found') throw new Error('no route');
      found.binding.encodeRequest({ variables: found.variables, query: '', contentType: 'application/json', body });
      return found.binding.decodeResponse(answer);
    },
  });
}
