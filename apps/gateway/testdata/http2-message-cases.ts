import {
  ANSWERED,
  COMPRESSION,
  PROTOCOL,
  WHOLE,
  block,
  connectionError,
  data,
  headers,
  octets,
  of,
  streamError,
  type Fields,
  type Http2Section,
  type Requests,
} from './http2-case.js';
import { END_HEADERS } from './raw-http2.js';

/** Messages, section by section of RFC 9113, and header blocks by RFC 7541. */
export function http2MessageSections(requests: Requests): readonly Http2Section[] {
  const { GET, path, scheme, get, post } = requests;
  const without = (name: string) => GET.filter(([each]) => each !== name);
  const request = block(GET);
  const coded = (...parts: Buffer[]) => headers(1, Buffer.concat(parts), WHOLE);
  const malformed = (name: string, fields: Fields) =>
    of(name, [headers(1, block(fields), WHOLE)], streamError(PROTOCOL));
  const taken = (name: string, hex: string) => of(name, [coded(request, Buffer.from(hex, 'hex'))], ANSWERED);
  const undecodable = (name: string, hex: string) =>
    of(name, [coded(request, Buffer.from(hex, 'hex'))], connectionError(COMPRESSION));
  /** The value `h2spec`, Huffman-coded and not. */
  const HUFFMAN = '849c48aca4';
  const PLAIN = '06683273706563';

  return [
    {
      section: '§8.1 exchanges',
      cases: [
        of('GET', [get()], ANSWERED),
        of('HEAD', [headers(1, block(requests.of('HEAD')), WHOLE)], ANSWERED),
        of('POST', [post(), data(1)], ANSWERED),
        of(
          'POST with trailers',
          [post([['trailer', 'x-test']]), data(1, 'test', 0), headers(1, block([['x-test', 'ok']]), WHOLE)],
          ANSWERED,
        ),
        of(
          'a second HEADERS without END_STREAM',
          [post(), data(1, 'test', 0), headers(1, block([['x-test', 'ok']]), END_HEADERS)],
          streamError(PROTOCOL),
        ),
      ],
    },
    {
      section: '§8.1.1 and §8.2 malformed messages',
      cases: [
        malformed('an upper-case name', [...GET, ['X-TEST', 'ok']]),
        malformed('an unknown pseudo-header field', [...GET, [':test', 'ok']]),
        malformed('a pseudo-header field of responses', [...GET, [':status', '200']]),
        of(
          'a pseudo-header field in trailers',
          [post(), data(1, 'test', 0), headers(1, block([[':method', 'POST']]), END_HEADERS)],
          streamError(PROTOCOL),
        ),
        malformed('a pseudo-header field after others', [['x-test', 'ok'], ...GET]),
        malformed('a connection-specific field', [...GET, ['connection', 'keep-alive']]),
        malformed('another TE than trailers', [...GET, ['trailers', 'test'], ['te', 'trailers, deflate']]),
        malformed('an empty :path', [...without(':path'), [':path', '']]),
        malformed('no :method', without(':method')),
        malformed('no :scheme', without(':scheme')),
        malformed('no :path', without(':path')),
        malformed('two :method', [...GET, [':method', 'GET']]),
        malformed('two :scheme', [...GET, [':scheme', scheme]]),
        malformed('two :path', [...GET, [':path', path]]),
        of('a length that is not that of DATA', [post([['content-length', '1']]), data(1)], streamError(PROTOCOL)),
        of(
          'a length that is not that of two DATA',
          [post([['content-length', '1']]), data(1, 'test', 0), data(1)],
          streamError(PROTOCOL),
        ),
      ],
    },
    {
      section: 'RFC 7541',
      cases: [
        taken('§6.1 an indexed field', 'ba'),
        taken('§6.2.1 with indexing, an indexed name', `7a${PLAIN}`),
        taken('§6.2.1 with indexing, an indexed name, Huffman-coded', `7a${HUFFMAN}`),
        taken('§6.2.1 with indexing, a new name', `4006782d74657374${PLAIN}`),
        taken('§6.2.1 with indexing, a new name, Huffman-coded', `4085f2b24a84ff${HUFFMAN}`),
        taken('§6.2.2 without indexing, an indexed name', `0f2b${PLAIN}`),
        taken('§6.2.2 without indexing, an indexed name, Huffman-coded', `0f2b${HUFFMAN}`),
        taken('§6.2.2 without indexing, a new name', `0006782d74657374${PLAIN}`),
        taken('§6.2.2 without indexing, a new name, Huffman-coded', `0085f2b24a84ff${HUFFMAN}`),
        taken('§6.2.3 never indexed, an indexed name', `1f2b${PLAIN}`),
        taken('§6.2.3 never indexed, an indexed name, Huffman-coded', `1f2b${HUFFMAN}`),
        taken('§6.2.3 never indexed, a new name', `1006782d74657374${PLAIN}`),
        taken('§6.2.3 never indexed, a new name, Huffman-coded', `1085f2b24a84ff${HUFFMAN}`),
        of('§6.3 a size update', [coded(octets(0x20), request)], ANSWERED),
        of('§4.2 two size updates', [coded(octets(0x20, 0x3f, 0xe1, 0x1f), request)], ANSWERED),
        undecodable('§2.3.3 an index beyond both tables', 'fe'),
        undecodable('§4.2 a size update at the end', '21'),
        undecodable('§5.2 padding of more than 7 bits', '0085f2b24a84ff8449509fff'),
        undecodable('§5.2 padding of zeros', '0085f2b24a84ff83495090'),
        undecodable('§5.2 EOS in a string', '0085f2b24a84ff87fffffffd25427f'),
        undecodable('§6.1 index 0', '80'),
        of(
          '§6.3 a size update above the setting',
          [coded(octets(0x3f, 0xe2, 0x1f), request)],
          connectionError(COMPRESSION),
        ),
      ],
    },
  ];
}
