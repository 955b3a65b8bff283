/**
 * What a call with a token that is refused costs the gateway, beside one with a valid token that it knows, and an API key that it knows
 * beside a token: CPU time of the gateway's process per call, medians of alternating rounds, without and with a log line for each call.
 *
 *   npm run bench tokens [rounds] [calls per round]
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { newApiKey } from '@sluice/identity';
import { contest, type Contestant } from '@sluice/testing';
import { bench, folder, peer, type Running, startEcho, startGateway, stopAll } from './processes.js';

const rounds = Number(process.argv[2] ?? 5);
const calls = Number(process.argv[3] ?? 10_000);
const CONNECTIONS = 16;
/** A storm has so many times the calls of another row. */
const STORM_TIMES = 4;

try {
  const { token, settings } = await startEcho();
  const [head, payload, signature] = token.split('.') as [string, string, string];
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object;
  const forged = () => `${head}.${payload}.${randomBytes(64).toString('base64url')}`;
  const expired = () => {
    const old = { ...claims, exp: Math.floor(Date.now() / 1000) - 1, jti: randomBytes(16).toString('hex') };
    return `${head}.${Buffer.from(JSON.stringify(old)).toString('base64url')}.${signature}`;
  };
  const [oneForged, oneExpired, apiKey] = [forged(), expired(), newApiKey('live')];
  const { port: keyServicePort } = await peer('key-service', []);
  for (const log of ['false', 'true']) {
    const common = { ...settings, ACCESS_LOG: log };
    const wide = await startGateway(guarded('wide', 50_000_000, '1m'), common);
    // In a storm of wrong signatures every guard becomes narrow; without one each is checked.
    const unguarded = await startGateway('gateway-full.yaml', common);
    const narrow = await startGateway(guarded('narrow', 1, '1h'), common);
    const usual = await startGateway(guarded('usual', 3000, '1m', true), common);
    const keyed = await startGateway('gateway-keys.yaml', {
      ...common,
      KEY_SERVICE_ADDRESS: `127.0.0.1:${keyServicePort}`,
    });
    await load(narrow, 1, [401], forged);
    const row = (name: string, gateway: Running, status: number, next: () => string): Contestant => ({
      name,
      processes: { gateway: gateway.child.pid! },
      run: (count) => load(gateway, count, [status], next),
    });
    // Each round is another storm, from addresses that the gateway has not heard of, measured from its first call on.
    let network = 0;
    const storm = (name: string, addresses: number): Contestant => ({
      name,
      processes: { gateway: usual.child.pid! },
      async run(count) {
        network++;
        let call = 0;
        const next = () => `${forged()}\r\nx-forwarded-for: 10.${network}.${addressOf(call++ % addresses)}`;
        await load(usual, count * STORM_TIMES, [401, 429], next);
      },
    });
    const results = await contest(
      [
        row('valid, known', wide, 200, () => token),
        row('valid, known, where API keys are taken too', keyed, 200, () => token),
        row('an API key that is known', keyed, 200, () => apiKey),
        row('expired, the same again', wide, 401, () => oneExpired),
        row('expired, each another', wide, 401, expired),
        row('forged, the same again', wide, 401, () => oneForged),
        row('forged, each another, without a guard', unguarded, 401, forged),
        row('forged, each another, once its address has guessed too often', narrow, 429, forged),
        storm('forged, a whole storm from one address, the shipped guard', 1),
        storm('forged, a whole storm from 500 addresses, the shipped guard', 500),
      ],
      { rounds, calls },
    );
    const valid = results[0]!.cpu['gateway']!;
    console.log(
      `\n${log === 'true' ? 'With' : 'Without'} a log line a call; medians of ${rounds} rounds of ${calls} calls`,
    );
    for (const { name, cpu } of results) {
      const own = cpu['gateway']! / (name.includes('storm') ? STORM_TIMES : 1);
      console.log(
        `  ${name.padEnd(66)} ${own.toFixed(1).padStart(6)} µs   ${(own / valid).toFixed(2)} of a valid call`,
      );
    }
  }
} finally {
  stopAll();
}

/** Every stage on, and a guard against guessed tokens. */
function guarded(name: string, limit: number, window: string, behindProxy = false): string {
  const file = join(folder, `${name}.yaml`);
  const full = readFileSync(join(bench, 'gateway-full.yaml'), 'utf8');
  const guard = `limits:\n  guess_guard: { limit: ${limit}, window: ${window} }`;
  writeFileSync(file, full.replace('limits:', guard) + (behindProxy ? 'trusted_proxies: [127.0.0.1]\n' : ''));
  return file;
}

/** The last two numbers of an address. */
function addressOf(index: number): string {
  return `${index >> 8}.${index & 255}`;
}

/** @throws when an answer has another status */
async function load({ port }: Running, count: number, statuses: number[], token: () => string): Promise<void> {
  const requests = Array.from(
    { length: count },
    () => `GET /echo/postcard HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${token()}\r\n\r\n`,
  );
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      await once(socket, 'connect');
      for (let request = requests.pop(); request !== undefined; request = requests.pop()) {
        socket.write(request);
        const answer = await wholeAnswer(socket);
        if (!statuses.includes(Number(answer.slice(9, 12)))) throw new Error(answer);
      }
      socket.destroy();
    }),
  );
}

/** The next answer; those of these calls all have a Content-Length. */
async function wholeAnswer(socket: ReturnType<typeof connect>): Promise<string> {
  let text = '';
  for (;;) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    text += chunk.toString('latin1');
    const end = text.indexOf('\r\n\r\n');
    if (end === -1) continue;
    const length = /\r\ncontent-length: *(\d+)/i.exec(text);
    if (!length) throw new Error(text);
    if (text.length >= end + 4 + Number(length[1])) return text;
  }
}
