/**
 * What no gateway on Node can be below: a server on `node:net` that gives every read the same answer, as long as the gateway's, and
 * calls nobody.
 */
import { createServer, type AddressInfo } from 'node:net';

const BODY = '{"text":"xxxxxxxxxxxxxxxxxxxxxxx","number":"42","name":"postcard"}';
const ANSWER = Buffer.from(
  [
    'HTTP/1.1 200 OK',
    'content-type: application/json',
    'x-content-type-options: nosniff',
    'ratelimit-policy: "calls";q=1000000;w=60',
    'ratelimit: "calls";r=999999;t=60',
    'cache-control: no-store',
    `content-length: ${BODY.length}`,
    'date: Sat, 28 Nov 2026 12:00:00 GMT',
    '',
    BODY,
  ].join('\r\n'),
);

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('data', () => socket.write(ANSWER));
  socket.on('error', () => socket.destroy());
});
server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port));
