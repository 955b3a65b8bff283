/**
 * A gRPC service with a number of workers and a queue without bound, which works on for callers that have left. What a call costs
 * is log-normal about a mean. Arguments: workers, mean in milliseconds.
 */
import { createServer } from 'node:http2';

const workers = Number(process.argv[2]);
let costMs = Number(process.argv[3]);
const GRPC = { ':status': 200, 'content-type': 'application/grpc' };
const ANSWER = Buffer.from([0, 0, 0, 0, 3, 0x0a, 1, 0x78]);
const queue = [];
let busy = 0;

function cost() {
  const normal = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  return costMs * Math.exp(0.47 * normal - 0.11);
}

function work() {
  while (costMs > 0 && busy < workers && queue.length > 0) {
    const stream = queue.shift();
    busy++;
    setTimeout(() => {
      busy--;
      if (!stream.destroyed) {
        stream.respond(GRPC, { waitForTrailers: true });
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
        stream.end(ANSWER);
      }
      work();
    }, cost());
  }
}

const server = createServer({ settings: { maxConcurrentStreams: 1000 }, streamResetBurst: 1e6, streamResetRate: 1e6 });
server.on('session', (session) => session.on('error', () => undefined));
server.on('stream', (stream) => {
  stream.on('error', () => undefined);
  stream.resume();
  queue.push(stream);
  work();
});
process.on('message', (message) => {
  costMs = message.costMs;
  work();
});
process.on('disconnect', () => process.exit());
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
