/**
 * CPU time per call of the load generator, with corrected histograms, refusal counts and everything else on, beside
 * autocannon's: the same trivial server in another process, the same number of calls over as many connections as the lab has
 * opened, each generator in a process of its own. autocannon runs once as fast as it can, and once at the rate that the lab plans:
 * it sends a second's calls in one burst and rests, while the lab sends each at its moment and is woken for nearly each answer. What
 * that alone costs is the last row: bare sockets that write a constant evenly and look at nothing. Medians of alternating
 * rounds; read the ratios.
 *
 *   npm run bench lab [rounds] [calls per second] [seconds]
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { setTimeout as delay } from 'node:timers/promises';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { planOf } from '../../dist/load/plan.js';
import { runLoad } from '../../dist/load/run.js';
import { parseScenario } from '../../dist/load/scenario.js';

/** The package brings no types. */
const autocannon = createRequire(import.meta.url)('autocannon') as (options: {
  readonly url: string;
  readonly connections: number;
  readonly amount?: number;
  readonly duration?: number;
  readonly overallRate?: number;
}) => Promise<{ readonly '2xx': number }>;

/** Serves as every answer that the lab wants: a token, a session. */
const ANSWER = Buffer.from('{"id":"0","access_token":"a","refresh_token":"b","expires_in":900}');

interface Generated {
  readonly calls: number;
  readonly connections: number;
}

interface Measured extends Generated {
  readonly cpuUs: number;
  readonly rssMb: number;
}

/** @param connections as many as the lab had; 0 for the lab */
type Generator = (url: string, rate: number, seconds: number, connections: number) => Promise<Generated>;

const generators: Readonly<Record<string, Generator>> = {
  'lab, open model': async (url, rate, seconds) => {
    const scenario = parseScenario('bench', {
      sessions: 10,
      // Growth and hold are 50 of 60 parts; the growth runs at 55 % on average.
      minutes: seconds / 60 / ((25 * 0.55 + 25) / 60),
      // Of one client address, as for autocannon; more only where a scenario cannot ask more of one.
      addresses: Math.ceil(rate / 16_000),
      messages_per_minute_per_address: (rate * 60) / Math.ceil(rate / 16_000),
      multiplier: { min: 1, max: 1 },
      mix: { session: 1 },
      thresholds: { create_per_second_min: 100 },
    });
    const options = {
      timeScale: 1,
      scaleAddresses: false,
      addressMode: 'source',
      seed: 1,
      callTimeoutMs: 30_000,
    } as const;
    const never = new AbortController().signal;
    const plan = planOf(scenario, { ...options, baseUrl: url });
    const { recorder, generator } = await runLoad(plan, [], never, () => undefined);
    if (recorder.total.failed > 0) throw new Error(`calls failed: ${JSON.stringify(recorder.failures)}`);
    return { calls: recorder.total.ok, connections: generator.connections };
  },
  'autocannon, at the same rate': async (url, rate, seconds, connections) => {
    const result = await autocannon({ url, connections, duration: seconds, overallRate: rate });
    return { calls: result['2xx'], connections };
  },
  'autocannon, as fast as it can': async (url, rate, seconds, connections) => {
    const result = await autocannon({ url, connections, amount: Math.round(rate * seconds) });
    return { calls: result['2xx'], connections };
  },
  'bare sockets, evenly': bareSockets,
};

async function bareSockets(url: string, rate: number, seconds: number, connections: number): Promise<Generated> {
  const { hostname, port } = new URL(url);
  const free: Socket[] = [];
  let [calls, open] = [0, 0];
  const buffer = Buffer.alloc(65_536);
  const opened = (): Socket => {
    open++;
    const callback = () => {
      calls++;
      free.push(socket);
      return true;
    };
    const socket = connect({ host: hostname, port: Number(port), noDelay: true, onread: { buffer, callback } });
    return socket;
  };
  const request = `GET / HTTP/1.1\r\nhost: ${hostname}\r\n\r\n`;
  const startMs = performance.now();
  for (let sent = 0; sent < rate * seconds; await delay(1)) {
    const due = ((performance.now() - startMs) * rate) / 1000;
    // No more connections than the lab had: what finds none free is sent a little later.
    for (; sent < due; sent++) {
      const socket = free.pop() ?? (open < connections ? opened() : undefined);
      if (!socket) break;
      socket.write(request, 'latin1');
    }
  }
  return { calls, connections: open };
}

function serve(): void {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': ANSWER.length });
    response.end(ANSWER);
  });
  server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port));
}

async function generate(name: string, url: string, rate: number, seconds: number, connections: number): Promise<void> {
  const before = process.cpuUsage();
  const generated = await generators[name]!(url, rate, seconds, connections);
  const { user, system } = process.cpuUsage(before);
  const rssMb = process.memoryUsage.rss() / 1_048_576;
  const measured: Measured = { ...generated, cpuUs: user + system, rssMb };
  process.send!(measured, undefined, undefined, () => process.exit());
}

function child(...args: readonly (string | number)[]): ChildProcess {
  return fork(process.argv[1]!, args.map(String), { execArgv: process.execArgv });
}

async function measure(...args: readonly (string | number)[]): Promise<Measured> {
  const generator = child('generate', ...args);
  const died = once(generator, 'exit').then(([code]) => Promise.reject(new Error(`the generator ended with ${code}`)));
  const [measured] = (await Promise.race([once(generator, 'message'), died])) as [Measured];
  await died.catch(() => undefined);
  return measured;
}

async function main(rounds: number, rate: number, seconds: number): Promise<void> {
  const server = child('serve');
  const [port] = (await once(server, 'message')) as [number];
  const measured = new Map<string, Measured[]>(Object.keys(generators).map((name) => [name, []]));
  try {
    for (let round = 0; round < rounds; round++) {
      let connections = 0;
      for (const [name, all] of measured) {
        const result = await measure(name, `http://127.0.0.1:${port}`, rate, seconds, connections);
        connections ||= result.connections;
        all.push(result);
      }
    }
  } finally {
    server.kill();
  }
  const cost = (name: string) => {
    const all = measured.get(name)!.map(({ cpuUs, calls }) => cpuUs / calls);
    return all.sort((a, b) => a - b)[all.length >> 1]!;
  };
  const [ours] = Object.keys(generators);
  for (const [name, all] of measured) {
    const perSecond = Math.round(1e6 / cost(name));
    const ratio = (cost(name) / cost(ours!)).toFixed(2);
    const { calls, connections, rssMb } = all.at(-1)!;
    console.log(
      `${name.padEnd(30)} ${cost(name).toFixed(1).padStart(6)} µs/call  ${String(perSecond).padStart(6)} calls per CPU second  ` +
        `the lab makes ${ratio} times as many  (${calls} calls, ${connections} connections, ${rssMb.toFixed(0)} MB)`,
    );
  }
}

const [role, ...args] = process.argv.slice(2);
if (role === 'serve') serve();
else if (role === 'generate') {
  const [name, url, ...numbers] = args as [string, string, ...string[]];
  const [rate, seconds, connections] = numbers.map(Number) as [number, number, number];
  await generate(name, url, rate, seconds, connections);
} else await main(Number(role ?? 3), Number(args[0] ?? 15_000), Number(args[1] ?? 5));
