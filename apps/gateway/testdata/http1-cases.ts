/**
 * What a client can put on an HTTP/1.1 connection, by section of RFC 9112 (message syntax) and RFC 9110 (semantics), and the
 * answers that are right. Bytes are written as latin1. Where a recommendation leaves a choice, each allowed status is listed.
 */
export interface Http1Case {
  readonly name: string;
  readonly bytes: string;
  readonly status: readonly number[];
  /** The `text` that must have reached the service. */
  readonly text?: string;
  /** What the service must have been told: names and values of metadata. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** After this request nobody may take what follows on the connection for another one. */
  readonly closes?: true;
}

export interface Http1Section {
  readonly section: string;
  readonly cases: readonly Http1Case[];
}

export const HOST = 'Host: localhost\r\n';
export const PATH = '/v1/metadata';
const KILO = 'a'.repeat(1024);
const MEGA = KILO.repeat(1024);

/** A GET whose fields after Host are given, each with its line end. */
export const get = (fields = '', target = PATH) => `GET ${target} HTTP/1.1\r\n${HOST}${fields}\r\n`;
export const requestLine = (line: string) => `${line}\r\n${HOST}\r\n`;
/** A POST of a body as it is framed by `fields`. */
export const post = (fields: string, body: string) => `POST /v1/echo/ann HTTP/1.1\r\n${HOST}${fields}\r\n${body}`;
export const chunked = (body: string) => post('Transfer-Encoding: chunked\r\n', body);
export const HELLO = '{"text":"hello"}';
export const hello = (fields: string) => post(fields, HELLO);
export const LENGTH = `Content-Length: ${HELLO.length}\r\n`;
export const CHUNKS = `${HELLO.length.toString(16)}\r\n${HELLO}\r\n0\r\n\r\n`;
export const END = '0\r\n\r\n';

const BAD = [400] as const;
export const taken = (name: string, bytes: string): Http1Case => ({ name, bytes, status: [200] });
export const refused = (name: string, bytes: string, status: readonly number[] = BAD): Http1Case => ({
  name,
  bytes,
  status,
});
/** The framing is in doubt: the connection must end. */
export const fatal = (name: string, bytes: string, status: readonly number[] = BAD): Http1Case => ({
  ...refused(name, bytes, status),
  closes: true,
});
export const reads = (name: string, bytes: string, text = 'hello'): Http1Case => ({ name, bytes, status: [200], text });

const controls = Array.from({ length: 33 }, (_, index) => (index === 32 ? 0x7f : index)).filter(
  (code) => code !== 0x09,
);
const hex = (code: number) => `0x${code.toString(16).padStart(2, '0')}`;

export const http1Sections: readonly Http1Section[] = [
  {
    section: 'RFC 9112 §2.2 line ends',
    cases: [
      taken('an empty line before the request', `\r\n${get()}`),
      taken('two empty lines before the request', `\r\n\r\n${get()}`),
      fatal('LF alone after the request line', `GET ${PATH} HTTP/1.1\n${HOST}\r\n`),
      fatal('LF alone after a field', get('X-A: b\n')),
      fatal('LF alone at the end of the fields', `GET ${PATH} HTTP/1.1\r\n${HOST}\n`),
      fatal('CR alone after the request line', `GET ${PATH} HTTP/1.1\r${HOST}\r\n`),
      fatal('CR CR LF after a field', get('X-A: b\r\r\n')),
      fatal('whitespace before the first field', `GET ${PATH} HTTP/1.1\r\n ${HOST}\r\n`),
    ],
  },
  {
    section: 'RFC 9112 §3 request line',
    cases: [
      refused('a method that nobody knows', requestLine(`BREW ${PATH} HTTP/1.1`), [400, 405, 501]),
      refused('a method in lower case, which is another method', requestLine(`get ${PATH} HTTP/1.1`), [400, 405, 501]),
      fatal('a method that is no token', requestLine(`G@T ${PATH} HTTP/1.1`)),
      fatal('a method in parentheses', requestLine(`(GET) ${PATH} HTTP/1.1`)),
      fatal('no method', requestLine(` ${PATH} HTTP/1.1`)),
      fatal('a method without end', `${MEGA.slice(0, 100_000)}`, [400, 414, 431]),
      fatal('no target', requestLine('GET HTTP/1.1')),
      fatal('no target but spaces', requestLine('GET  HTTP/1.1')),
      refused('two spaces after the method', requestLine(`GET  ${PATH} HTTP/1.1`), [200, 400]),
      refused('two spaces before the version', requestLine(`GET ${PATH}  HTTP/1.1`), [200, 400]),
      fatal('a space after the version', requestLine(`GET ${PATH} HTTP/1.1 `)),
      fatal('a tab for a space', requestLine(`GET\t${PATH} HTTP/1.1`)),
      fatal('a space in the target', requestLine(`GET ${PATH} more HTTP/1.1`)),
      fatal('a letter after the version', requestLine(`GET ${PATH} HTTP/1.1a`)),
      fatal('garbage', 'hello\r\n\r\n'),
      fatal('a TLS handshake', '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03'.padEnd(600, '\0')),
    ],
  },
  {
    section: 'RFC 9112 §2.3 version',
    cases: [
      fatal('HTTP/0.9 without a version', `GET ${PATH}\r\n`),
      fatal('HTTP/0.9', requestLine(`GET ${PATH} HTTP/0.9`), [400, 505]),
      taken('HTTP/1.0 without Host', `GET ${PATH} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`),
      refused('HTTP/1.2, which may be taken for 1.1', requestLine(`GET ${PATH} HTTP/1.2`), [200, 400, 505]),
      fatal('HTTP/2.0 without a preface', requestLine(`GET ${PATH} HTTP/2.0`), [400, 505]),
      fatal('HTTP/3.0', requestLine(`GET ${PATH} HTTP/3.0`), [400, 505]),
      fatal('HTTP/1.10', requestLine(`GET ${PATH} HTTP/1.10`), [400, 505]),
      fatal('HTTP/01.1', requestLine(`GET ${PATH} HTTP/01.1`), [400, 505]),
      fatal('HTTP/1', requestLine(`GET ${PATH} HTTP/1`), [400, 505]),
      fatal('http/1.1', requestLine(`GET ${PATH} http/1.1`), [400, 505]),
      fatal('ICE/1.1', requestLine(`GET ${PATH} ICE/1.1`), [400, 505]),
    ],
  },
  {
    section: 'RFC 9112 §3.2 target',
    cases: [
      taken('origin form with a query', get('', `${PATH}?`)),
      {
        ...taken('absolute form, which overrides Host', requestLine(`GET http://other.example:81${PATH} HTTP/1.1`)),
        metadata: { 'x-forwarded-host': 'other.example:81' },
      },
      taken('absolute form in capitals', requestLine(`GET HTTP://LOCALHOST${PATH} HTTP/1.1`)),
      refused('absolute form without a path', requestLine('GET http://localhost HTTP/1.1'), [404]),
      refused('absolute form without a path but a query', requestLine('GET http://localhost?a=b HTTP/1.1'), [404]),
      refused('absolute form without a host', requestLine(`GET http://${PATH} HTTP/1.1`)),
      refused('absolute form with a user', requestLine(`GET http://root:pw@localhost${PATH} HTTP/1.1`)),
      refused('absolute form of another scheme', requestLine(`GET ftp://localhost${PATH} HTTP/1.1`), [400, 404, 421]),
      refused('absolute form without Host', `GET http://localhost${PATH} HTTP/1.1\r\n\r\n`),
      refused('asterisk form', requestLine('OPTIONS * HTTP/1.1'), [204]),
      refused('asterisk form of another method', requestLine('GET * HTTP/1.1'), [400, 404]),
      fatal('authority form of CONNECT', requestLine('CONNECT localhost:80 HTTP/1.1'), [400, 405, 501]),
      refused('authority form of another method', requestLine('GET localhost:80 HTTP/1.1')),
      refused('a path without its slash', requestLine('GET v1/metadata HTTP/1.1')),
      refused('a fragment', get('', `${PATH}#a`), [400, 404]),
      fatal('NUL in the target', get('', `${PATH}\0`)),
      fatal('DEL in the target', get('', `${PATH}\x7f`)),
      fatal('a control character in the target', get('', `${PATH}\x01`)),
      refused('octets beyond ASCII in the target', get('', `${PATH}?a=\xc3\xa9`)),
      refused('a target that is too long', get('', `/v1/echo/${MEGA}`), [414, 431]),
      taken('a target of four kilobytes', get('', `/v1/echo/${KILO.repeat(4)}`)),
      refused('a percent sign that is none', get('', '/v1/echo/%zz')),
      { ...taken('dots stay what they are', get('', '/v1/echo/..')) },
    ],
  },
  {
    section: 'RFC 9112 §3.2 Host',
    cases: [
      refused('none', `GET ${PATH} HTTP/1.1\r\n\r\n`),
      refused('two', get('Host: localhost\r\n')),
      refused('two in two cases', get('hOST: other\r\n')),
      refused('two in HTTP/1.0', `GET ${PATH} HTTP/1.0\r\n${HOST}${HOST}\r\n`),
      refused('with a space', `GET ${PATH} HTTP/1.1\r\nHost: a b\r\n\r\n`),
      refused('with a path', `GET ${PATH} HTTP/1.1\r\nHost: a/b\r\n\r\n`),
      refused('with a user', `GET ${PATH} HTTP/1.1\r\nHost: root@a\r\n\r\n`),
      refused('with a port that is none', `GET ${PATH} HTTP/1.1\r\nHost: a:b\r\n\r\n`),
      refused('with an address that is none', `GET ${PATH} HTTP/1.1\r\nHost: [::1\r\n\r\n`),
      refused('of two hosts', `GET ${PATH} HTTP/1.1\r\nHost: a, b\r\n\r\n`),
      refused('empty, which names no host', `GET ${PATH} HTTP/1.1\r\nHost:\r\n\r\n`, [200, 400]),
      {
        ...taken('of an IPv6 address', `GET ${PATH} HTTP/1.1\r\nHost: [::1]:80\r\n\r\n`),
        metadata: { 'x-forwarded-host': '[::1]:80' },
      },
    ],
  },
  {
    section: 'RFC 9112 §5 fields',
    cases: [
      { ...taken('names in any case', get('GRPC-METADATA-A: b\r\n')), metadata: { a: 'b' } },
      { ...taken('no space after the colon', get('grpc-metadata-a:b\r\n')), metadata: { a: 'b' } },
      { ...taken('spaces and tabs around a value', get('grpc-metadata-a: \t  b c\t \t\r\n')), metadata: { a: 'b c' } },
      { ...taken('a colon in a value', get('grpc-metadata-a: b:c: d\r\n')), metadata: { a: 'b:c: d' } },
      taken('an empty value', get('X-A:\r\n')),
      taken('a value of spaces', get('X-A:    \r\n')),
      { ...taken('a tab in a value', get('X-A: b\tc\r\n')) },
      taken('octets beyond ASCII in a value', get('X-A: \x80\xc3\xa9\xff\r\n')),
      taken('every character of a token in a name', get("X!#$%&'*+-.^_`|~0aZ: b\r\n")),
      fatal('a space before the colon', get('X-A : b\r\n')),
      fatal('a tab before the colon', get('X-A\t: b\r\n')),
      fatal('a space before the colon of Content-Length', hello(`Content-Length : ${HELLO.length}\r\n`)),
      fatal('a folded line (§5.2)', get('X-A: b\r\n c\r\n')),
      fatal('a folded line of a tab', get('X-A: b\r\n\tc\r\n')),
      fatal('an empty folded line', get('X-A: b\r\n \r\n')),
      fatal('no name', get(': b\r\n')),
      fatal('no colon', get('X-A\r\n')),
      ...[...'"(),/;<=>?@[\\]{}\x80\xff'].map((character) =>
        fatal(`${JSON.stringify(character)} in a name`, get(`X${character}A: b\r\n`)),
      ),
      ...controls.map((code) => refused(`${hex(code)} in a value`, get(`X-A: b${String.fromCharCode(code)}c\r\n`))),
      ...[0, 1, 0x0b, 0x1f, 0x7f].map((code) =>
        fatal(`${hex(code)} in a name`, get(`X${String.fromCharCode(code)}A: b\r\n`)),
      ),
      refused('NUL at the end of a value', get('X-A: b\0\r\n')),
      taken('127 fields', get('X-A: b\r\n'.repeat(126))),
      refused('200 fields', get('X-A: b\r\n'.repeat(200)), [431]),
      refused('10 000 fields', get('A:\r\n'.repeat(10_000)), [431]),
      refused('fields over the limit in all', get(`X-A: ${KILO}\r\n`.repeat(40)), [431]),
      refused('a field of a megabyte', get(`X-A: ${MEGA}\r\n`), [431]),
      refused('a name of a megabyte', get(`${MEGA}: b\r\n`), [431]),
      taken('fields of sixteen kilobytes', get(`X-A: ${KILO}\r\n`.repeat(16))),
    ],
  },
  {
    section: 'RFC 9112 §6.2 Content-Length',
    cases: [
      reads('that fits', hello(LENGTH)),
      reads('with leading zeros', hello(`Content-Length: 000${HELLO.length}\r\n`)),
      reads('with spaces around it', hello(`Content-Length: \t ${HELLO.length} \r\n`)),
      taken('of nothing', post('Content-Length: 0\r\n', '')),
      taken('none on a POST, which has no body then', post('', '')),
      refused('twice the same', hello(LENGTH + LENGTH), [200, 400]),
      refused('a list of the same', hello(`Content-Length: ${HELLO.length}, ${HELLO.length}\r\n`), [200, 400]),
      fatal('two that differ', hello(`${LENGTH}Content-Length: ${HELLO.length + 1}\r\n`)),
      fatal('a list of two that differ', hello(`Content-Length: ${HELLO.length}, 0\r\n`)),
      ...['', '+16', '-1', '0x10', '1e1', '16.0', '1 6', '16;', '16a', 'a', '٣', '16\x0b', '"16"', '١٦'].map((value) =>
        fatal(`of ${JSON.stringify(value)}`, hello(`Content-Length: ${Buffer.from(value).toString('latin1')}\r\n`)),
      ),
      fatal('beyond 2^64', hello('Content-Length: 18446744073709551632\r\n'), [400, 413]),
      fatal('of 400 digits', hello(`Content-Length: ${'9'.repeat(400)}\r\n`), [400, 413]),
      fatal('beyond 2^53', hello('Content-Length: 9007199254740993\r\n'), [400, 413]),
      fatal('over the limit of the gateway', hello('Content-Length: 2000000\r\n'), [413]),
      refused('on a GET whose rule takes no body', get(LENGTH) + HELLO),
    ],
  },
  {
    section: 'RFC 9112 §6.1 Transfer-Encoding',
    cases: [
      reads('chunked', hello('Transfer-Encoding: chunked\r\n').replace(HELLO, CHUNKS)),
      reads('chunked in odd case and with spaces', post('tRANSFER-eNCODING:  \tChUnKeD \r\n', CHUNKS)),
      fatal('with Content-Length', post(`Transfer-Encoding: chunked\r\n${LENGTH}`, CHUNKS)),
      fatal('after Content-Length', post(`${LENGTH}Transfer-Encoding: chunked\r\n`, CHUNKS)),
      fatal('with Content-Length: 0', post('Content-Length: 0\r\nTransfer-Encoding: chunked\r\n', CHUNKS)),
      ...[
        'identity',
        'gzip',
        'chunked, gzip',
        'chunked, chunked',
        'chunked, identity',
        'xchunked',
        'chunkedx',
        'chunked;a=b',
        '"chunked"',
        'chunked, ,',
        'chunked\x0b',
        '\x0cchunked',
        'chunked\0',
        'chun ked',
        '',
      ].map((value) =>
        fatal(`of ${JSON.stringify(value)}`, post(`Transfer-Encoding: ${value}\r\n`, CHUNKS), [400, 501]),
      ),
      ...['gzip, chunked', 'identity, chunked'].map((value) =>
        fatal(`of ${value}`, post(`Transfer-Encoding: ${value}\r\n`, CHUNKS), [400, 501]),
      ),
      fatal('twice', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', CHUNKS), [400, 501]),
      fatal(
        'twice, one of them identity',
        post('Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n', CHUNKS),
        [400, 501],
      ),
      fatal(
        'in HTTP/1.0',
        `POST /v1/echo/ann HTTP/1.0\r\n${HOST}Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKS}`,
      ),
      refused('on a GET whose rule takes no body', get('Transfer-Encoding: chunked\r\n') + CHUNKS),
      taken('on a GET, of no chunk', get('Transfer-Encoding: chunked\r\n') + END),
    ],
  },
  {
    section: 'RFC 9112 §7.1 chunks',
    cases: [
      reads('one octet each', chunked([...HELLO].map((octet) => `1\r\n${octet}\r\n`).join('') + END)),
      reads('sizes in lower case', chunked(`a\r\n{"text":"h\r\n6\r\nello"}\r\n${END}`)),
      reads('sizes in upper case', chunked(`A\r\n{"text":"h\r\n6\r\nello"}\r\n${END}`)),
      reads('leading zeros', chunked(`0010\r\n${HELLO}\r\n000\r\n\r\n`)),
      taken('no chunk but the last', chunked(END)),
      reads('an extension', chunked(`10;a=b\r\n${HELLO}\r\n0;c\r\n\r\n`)),
      reads('a quoted extension', chunked(`10;a="b;\\"c"\r\n${HELLO}\r\n${END}`)),
      refused('whitespace around an extension', chunked(`10 ; a = b\r\n${HELLO}\r\n${END}`), [200, 400]),
      refused('an extension of a kilobyte', chunked(`10;a=${KILO}\r\n${HELLO}\r\n${END}`), [200, 400, 413]),
      fatal('an extension of a megabyte', chunked(`10;a=${MEGA}\r\n${HELLO}\r\n${END}`), [400, 413, 431]),
      reads('several extensions', chunked(`10;a;b=c ; d = "\\"e;"\r\n${HELLO}\r\n${END}`)),
      ...[';', ';;a', ';=b', ';a=', ';a b', ';a="b', ';a="b"c', ';a,b', ';a=b=c', '; ', ';a;', ';@', ';a=\xe4'].map(
        (extension) =>
          fatal(`an extension without a name or value: ${extension}`, chunked(`10${extension}\r\n${HELLO}\r\n${END}`)),
      ),
      fatal('LF in an extension', chunked(`10;a=b\nc\r\n${HELLO}\r\n${END}`)),
      fatal('CR in an extension', chunked(`10;a=b\rc\r\n${HELLO}\r\n${END}`)),
      fatal('NUL in an extension', chunked(`10;a=b\0c\r\n${HELLO}\r\n${END}`)),
      ...['', 'g', '-10', '+10', '0x10', '1 0', '10g', ';a=b', '١'].map((size) =>
        fatal(
          `a size of ${JSON.stringify(size)}`,
          chunked(`${Buffer.from(size).toString('latin1')}\r\n${HELLO}\r\n${END}`),
        ),
      ),
      refused('a space before a size', chunked(` 10\r\n${HELLO}\r\n${END}`)),
      fatal('a size beyond 2^64', chunked(`10000000000000010\r\n${HELLO}\r\n${END}`), [400, 413]),
      fatal('a size of 2^64-1', chunked(`ffffffffffffffff\r\n${HELLO}\r\n${END}`), [400, 413]),
      fatal('a size beyond 2^53', chunked(`20000000000010\r\n${HELLO}\r\n${END}`), [400, 413]),
      fatal(
        'a size of 1000 zeros and more',
        chunked(`${'0'.repeat(100_000)}10\r\n${HELLO}\r\n${END}`),
        [400, 413, 431],
      ),
      fatal('a size over the limit of the gateway', chunked(`200000\r\n${'x'.repeat(0x20_0000)}\r\n${END}`), [413]),
      fatal('a chunk that is longer than its size', chunked(`f\r\n${HELLO}\r\n${END}`)),
      fatal('a chunk that is shorter than its size', chunked(`11\r\n${HELLO}\r\n${END}`)),
      fatal('LF alone after a size', chunked(`10\n${HELLO}\r\n${END}`)),
      fatal('LF alone after a chunk', chunked(`10\r\n${HELLO}\n${END}`)),
      fatal('LF alone after the last size', chunked(`10\r\n${HELLO}\r\n0\n\r\n`)),
      fatal('LF alone at the end', chunked(`10\r\n${HELLO}\r\n0\r\n\n`)),
      fatal('CR alone after a size', chunked(`10\r${HELLO}\r\n${END}`)),
      fatal('no line end after a chunk', chunked(`10\r\n${HELLO}${END}`)),
    ],
  },
  {
    section: 'RFC 9112 §7.1.2 trailers',
    cases: [
      reads('a field', chunked(`10\r\n${HELLO}\r\n0\r\nX-A: b\r\n\r\n`)),
      reads('two fields', chunked(`10\r\n${HELLO}\r\n0\r\nX-A: b\r\nX-B:\r\n\r\n`)),
      ...[
        'Content-Length: 5',
        'Transfer-Encoding: chunked',
        'Host: other',
        'Authorization: x',
        'Connection: close',
      ].map((field) =>
        refused(`that decide nothing: ${field}`, chunked(`10\r\n${HELLO}\r\n0\r\n${field}\r\n\r\n`), [200, 400]),
      ),
      fatal('a name that is no token', chunked(`10\r\n${HELLO}\r\n0\r\nX A: b\r\n\r\n`)),
      fatal('no colon', chunked(`10\r\n${HELLO}\r\n0\r\nX-A\r\n\r\n`)),
      fatal('a folded line', chunked(`10\r\n${HELLO}\r\n0\r\nX-A: b\r\n c\r\n\r\n`)),
      fatal('LF alone', chunked(`10\r\n${HELLO}\r\n0\r\nX-A: b\n\r\n`)),
      fatal(
        'a megabyte of them',
        chunked(`10\r\n${HELLO}\r\n0\r\n${`X-A: ${KILO}\r\n`.repeat(1024)}\r\n`),
        [400, 413, 431],
      ),
      fatal('10 000 of them', chunked(`10\r\n${HELLO}\r\n0\r\n${'A: b\r\n'.repeat(10_000)}\r\n`), [400, 413, 431]),
    ],
  },
  {
    section: 'RFC 9110 §10.1.1 Expect',
    cases: [
      reads('100-continue with the body already there', hello(`Expect: 100-continue\r\n${LENGTH}`)),
      reads('100-continue in odd case', hello(`eXPECT: 100-ContinuE\r\n${LENGTH}`)),
      refused('something else', hello(`Expect: 200-ok\r\n${LENGTH}`), [417]),
      refused('something else without a body', get('Expect: 200-ok\r\n'), [417]),
      taken('100-continue without a body', get('Expect: 100-continue\r\n')),
    ],
  },
  {
    section: 'RFC 9110 §7.8 Upgrade',
    cases: [
      taken(
        'h2c is ignored',
        get('Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n'),
      ),
      taken(
        'websocket is ignored',
        get('Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: YQ==\r\nSec-WebSocket-Version: 13\r\n'),
      ),
      reads('with a body', hello(`Connection: upgrade\r\nUpgrade: h2c\r\n${LENGTH}`)),
      taken('without Connection', get('Upgrade: h2c\r\n')),
    ],
  },
];
