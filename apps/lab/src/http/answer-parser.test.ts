import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AnswerFault, AnswerParser, type AnswerReader } from './answer-parser.js';

interface Read {
  readonly status: number;
  readonly retryAfter: string;
  readonly body: string;
}

/** Reads what came in these pieces, and then the end of the connection when it `closes`. */
function read(pieces: readonly Buffer[], closes = false) {
  const parser = new AnswerParser();
  const answers: Read[] = [];
  let [status, retryAfter, body] = [0, '', ''];
  const reader: AnswerReader = {
    came: () => undefined,
    head: (code, after) => ([status, retryAfter] = [code, after]),
    data: (bytes, from, to) => (body += bytes.toString('latin1', from, to)),
    ended: () => undefined,
  };
  const complete = () => {
    answers.push({ status, retryAfter, body });
    [status, retryAfter, body] = [0, '', ''];
  };
  for (const piece of pieces) {
    // The bytes behind a piece are of an earlier one: they must not be looked at.
    const bytes = Buffer.concat([piece, Buffer.from('\n:5\r\n\r\n')]);
    for (let from = 0; from < piece.length;) {
      const ended = parser.execute(bytes.subarray(from), piece.length - from, reader);
      if (ended < 0) break;
      from += ended;
      complete();
    }
  }
  if (closes && parser.finish()) complete();
  return { answers, parser };
}

const all = (text: string) => [Buffer.from(text, 'latin1')];
const fault = (text: string) => {
  try {
    read(all(text));
  } catch (error) {
    if (error instanceof AnswerFault) return error.message;
    throw error;
  }
  return undefined;
};

describe('what ends an answer', () => {
  it.each([
    ['a length', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 'hello'],
    ['a length of nothing', 'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n', ''],
    [
      'chunks',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=1\r\nhello\r\n00A\r\n, you two!\r\n0\r\nA: b\r\n\r\n',
      'hello, you two!',
    ],
    ['its status', 'HTTP/1.1 204 No Content\r\n\r\n', ''],
    ['its status, whatever the length says', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n', ''],
    [
      'a length after interim answers',
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
      'ok',
    ],
    ['a length, with bare line feeds and no reason', 'HTTP/1.1 200\nContent-Length:2\n\nok', 'ok'],
    ['one length said twice', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok', 'ok'],
  ])('%s', (_, text, body) => {
    const { answers } = read(all(text));
    expect(answers.map((answer) => answer.body)).toEqual([body]);
  });

  it('the end of the connection, when nothing else says it', () => {
    const text = 'HTTP/1.1 200 OK\r\n\r\nuntil the end';
    expect(read(all(text)).answers).toEqual([]);
    expect(read(all(text), true).answers.map(({ body }) => body)).toEqual(['until the end']);
    expect(read(all(text), true).parser.keepAlive).toBe(false);
  });

  it('the end of the connection does not complete a part of an answer', () => {
    for (const text of [
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
      'HTTP/1.1 200 OK\r\nContent-Le',
    ]) {
      expect(read(all(text), true).answers).toEqual([]);
    }
  });
});

describe('what is no answer', () => {
  it.each([
    ['another protocol', 'SSH-2.0-OpenSSH_9.2\r\n'],
    ['a protocol of the future', 'HTTP/2.0 200 OK\r\n\r\n'],
    ['a status of letters', 'HTTP/1.1 2OO OK\r\n\r\n'],
    ['a protocol that nobody asked for', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
    ['a length beside chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n'],
    ['two lengths in one field', 'HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n'],
    ['a negative length', 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n'],
    ['a hexadecimal length', 'HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n'],
    ['an endless length', `HTTP/1.1 200 OK\r\nContent-Length: ${'9'.repeat(20)}\r\n\r\n`],
    ['a coding that was not asked for', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
    ['a space behind a field name', 'HTTP/1.1 200 OK\r\nTransfer-Encoding : chunked\r\n\r\n'],
    ['a tab behind a field name', 'HTTP/1.1 200 OK\r\nContent-Length\t: 5\r\n\r\n'],
    ['a folded line', 'HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 5\r\n\r\n'],
    ['a chunk without a size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n'],
    ['a chunk of a negative size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n'],
    ['a chunk larger than it can be', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n'],
    ['a chunk that is longer than its size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n'],
  ])('%s', (_, text) => expect(fault(text)).toBe('MALFORMED_ANSWER'));

  it.each([
    ['a head', `HTTP/1.1 200 OK\r\n${'X: 1\r\n'.repeat(20_000)}`],
    ['a line', `HTTP/1.1 200 OK\r\nX: ${'1'.repeat(70_000)}`],
    ['interim answers', 'HTTP/1.1 103 Hints\r\n\r\n'.repeat(4_000)],
    ['trailers', `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${'X: 1\r\n'.repeat(20_000)}`],
    ['a field of spaces', `HTTP/1.1 200 OK\r\nConnection:${' '.repeat(65_000)}x${' '.repeat(65_000)}\r\n`],
  ])('%s without an end', (_, text) => expect(fault(text)).toBe('HEAD_TOO_LARGE'));

  it('a body without an end', () => {
    const piece = Buffer.alloc(1_048_576, 'x');
    const endless = [Buffer.from('HTTP/1.1 200 OK\r\n\r\n'), ...Array.from({ length: 65 }, () => piece)];
    expect(() => read(endless)).toThrow('BODY_TOO_LARGE');
  });
});

describe('the connection afterwards', () => {
  it.each([
    ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', true],
    ['HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n', false],
    ['HTTP/1.1 200 OK\r\nConnection: upgrade, close\r\nContent-Length: 0\r\n\r\n', false],
    ['HTTP/1.1 200 OK\r\nConnection: disclose\r\nContent-Length: 0\r\n\r\n', true],
    ['HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n', false],
    ['HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n', true],
  ])('%j keeps it: %s', (text, keepAlive) => expect(read(all(text)).parser.keepAlive).toBe(keepAlive));

  it('is kept for as long as the server says', () => {
    const text = 'HTTP/1.1 200 OK\r\nKeep-Alive: max=7, timeout=5\r\nContent-Length: 0\r\n\r\n';
    expect(read(all(text)).parser.keepAliveMs).toBe(5000);
    expect(read(all(`${text}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n`)).parser.keepAliveMs).toBe(0);
  });
});

describe('what is as usual is read without making text of it, and means the same', () => {
  const means = (text: string) => {
    const { answers, parser } = read(all(`${text}\r\n`));
    return { answers, keepAlive: parser.keepAlive, keepAliveMs: parser.keepAliveMs };
  };

  it.each([
    ['a name in capitals', 'CONTENT-LENGTH: 0\r\n'],
    ['no space before the value', 'content-length:0\r\n'],
    ['spaces around the value', 'content-length: \t0 \r\n'],
    ['a length of many digits', 'content-length: 0000000000000\r\n'],
    ['the same length twice', 'content-length: 0\r\ncontent-length: 0\r\n'],
  ])('%s', (_, lines) => {
    expect(means(`HTTP/1.1 200 OK\r\n${lines}`)).toEqual(means('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n'));
  });

  it.each([
    ['keep-alive: timeout=5', 5_000],
    ['Keep-Alive:timeout=5', 5_000],
    ['keep-alive: timeout=5, max=100', 5_000],
    ['keep-alive: timeout=', 0],
    ['keep-alive: timeout=x', 0],
    ['keep-alive: timeout=999999', 999_999_000],
  ])('%s', (line, keepAliveMs) => {
    expect(means(`HTTP/1.1 200 OK\r\n${line}\r\ncontent-length: 0\r\n`)).toMatchObject({ keepAliveMs });
  });

  it('a status line without a reason, or with more behind the code', () => {
    expect(means('HTTP/1.1 204\r\n').answers).toMatchObject([{ status: 204 }]);
    expect(fault('HTTP/1.1 2040\r\n\r\n')).toBe('MALFORMED_ANSWER');
    expect(fault('http/1.1 200 OK\r\n\r\n')).toBe('MALFORMED_ANSWER');
  });

  it('a carriage return is no hyphen, whatever bits they share', () => {
    expect(fault('HTTP/1.1 200 OK\r\ncontent\rlength: 0\r\n\r\n')).toBe('MALFORMED_ANSWER');
    expect(fault('HTTP/1.1 200 OK\r\nkeep\ralive: timeout=5\r\n\r\n')).toBe('MALFORMED_ANSWER');
  });
});

it('tells when to come again', () => {
  const text = 'HTTP/1.1 429 Too Many Requests\r\nRetry-After:\t 7 \r\nContent-Length: 0\r\n\r\n';
  expect(read(all(text)).answers).toEqual([{ status: 429, retryAfter: '7', body: '' }]);
});

it('reads the same answers wherever they are cut', () => {
  const body = fc.string({ unit: fc.constantFrom('a', '\r', '\n', ' ', '0', ':', 'é'), maxLength: 40 });
  const fields = fc.subarray([
    'Content-Type: text/plain\r\n',
    'Connection: keep-alive\r\n',
    'retry-after: 3\r\n',
    'x: c\n',
    'Trailer: t\r\n',
  ]);
  const answer = fc.record({ body, fields, chunk: fc.integer({ min: 0, max: 7 }) });
  const written = ({ body, fields, chunk }: { body: string; fields: string[]; chunk: number }) => {
    const head = `HTTP/1.1 200 OK\r\n${fields.join('')}`;
    if (chunk === 0) return `${head}Content-Length: ${body.length}\r\n\r\n${body}`;
    const chunks = body.match(new RegExp(`[^]{1,${chunk}}`, 'g')) ?? [];
    const coded = [...chunks, '']
      .map((part) => `${part.length.toString(16)}\r\n${part}${part === '' ? '' : '\r\n'}`)
      .join('');
    return `${head}Transfer-Encoding: chunked\r\n\r\n${coded}\r\n`;
  };
  fc.assert(
    fc.property(
      fc.array(answer, { minLength: 1, maxLength: 3 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 9 })),
      (answers, cuts) => {
        const bytes = Buffer.from(answers.map(written).join(''), 'latin1');
        const pieces: Buffer[] = [];
        for (let at = 0; at < bytes.length;) {
          const size = cuts.next().value as number;
          pieces.push(bytes.subarray(at, (at += size)));
        }
        const expected = answers.map(({ body, fields }) => ({
          status: 200,
          retryAfter: fields.includes('retry-after: 3\r\n') ? '3' : '',
          body,
        }));
        expect(read(pieces).answers).toEqual(expected);
        expect(read([bytes]).answers).toEqual(expected);
      },
    ),
  );
});

it('answers any bytes with answers or a fault', () => {
  const piece = fc.oneof(
    fc.uint8Array({ maxLength: 30 }),
    fc
      .constantFrom(
        'HTTP/1.1 200 OK\r\n',
        'Content-Length: 3\r\n',
        'Transfer-Encoding: chunked\r\n',
        '\r\n',
        '3\r\n',
        'abc',
        '0\r\n',
      )
      .map((text) => Buffer.from(text)),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      try {
        read(pieces.map((bytes) => Buffer.from(bytes)));
      } catch (error) {
        expect(error).toBeInstanceOf(AnswerFault);
      }
    }),
    { numRuns: 2_000 },
  );
});
