/**
 * CPU time per call of the load generator, with corrected histograms, refusal counts and everything else on, beside
 * autocannon's: the same trivial server in another process, the same number of calls, each generator in a process of its own.
 * autocannon runs once as fast as it can (its cheapest mode: nothing waits) and once at the rate that the lab plans.
 * Medians of alternating rounds; read the ratios.
 *
 *   npm run bench lab [rounds] [calls per second] [seconds]
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
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

const CONNECTIONS = 50;
/** Serves as every answer that the lab wants: a token, a session. */
const ANSWER = Buffer.from('{"id":"0","access_token":"a","refresh_token":"b","expires_in":900}');

interface Measured {
  readonly calls: number;
  readonly cpuUs: number;
  readonly rssMb: number;
}

type Generator = (url: string, rate: number, seconds: number) => Promise<number>;

const generators: Readonly<Record<string, Generator>> = {
  'lab, open model': async (url, rate, seconds) => {
    const scenario = parseScenario('bench', {
      sessions: 10,
      // Growth and hold are 50 of 60 parts; the growth runs at 55 % on average.
      minutes: seconds / 60 / ((25 * 0.55 + 25) / 60),
      addresses: 1,
      messages_per_minute_per_address: rate * 60,
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
    const { recorder } = await runLoad(planOf(scenario, { ...options, baseUrl: url }), [], never, () => undefined);
    if (recorder.total.failed > 0) throw new Error(`calls failed: ${JSON.stringify(recorder.failures)}`);
    return recorder.total.ok;
  },
  'autocannon, as fast as it can': async (url, rate, seconds) => {
    const result = await autocannon({ url, connections: CONNECTIONS, amount: Math.round(rate * seconds) });
    return result['2xx'];
  },
  'autocannon, at the same rate': async (url, rate, seconds) => {
    const result = await autocannon({ url, connections: CONNECTIONS, duration: seconds, overallRate: rate });
    return result['2xx'];
  },
};

function serve(): void {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': ANSWER.length });
    response.end(ANSWER);
  });
  server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port));
}

async function generate(name: string, port: number, rate: number, seconds: number): Promise<void> {
  const before = process.cpuUsage();
  const calls = await generators[name]!(`http://127.0.0.1:${port}`, rate, seconds);
  const { user, system } = process.cpuUsage(before);
  process.send!({ calls, cpuUs: user + system, rssMb: process.memoryUsage.rss() / 1_048_576 } satisfies Measured);
  process.disconnect();
}

function child(...args: readonly (string | number)[]): ChildProcess {
  return fork(process.argv[1]!, args.map(String), { execArgv: process.execArgv });
}

async function main(rounds: number, rate: number, seconds: number): Promise<void> {
  const server = child('serve');
  const [port] = (await once(server, 'message')) as [number];
  const measured = new Map<string, Measured[]>(Object.keys(generators).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, all] of measured) {
      const [result] = (await once(child('generate', name, port, rate, seconds), 'message')) as [Measured];
      all.push(result);
    }
  }
  server.kill();
  const cost = (name: string) => {
    const all = measured.get(name)!.map(({ cpuUs, calls }) => cpuUs / calls);
    return all.sort((a, b) => a - b)[all.length >> 1]!;
  };
  const [ours] = Object.keys(generators);
  for (const [name, all] of measured) {
    const perSecond = Math.round(1e6 / cost(name));
    const ratio = (cost(name) / cost(ours!)).toFixed(2);
    const { calls, rssMb } = all.at(-1)!;
    console.log(
      `${name.padEnd(30)} ${cost(name).toFixed(1).padStart(6)} µs/call  ${String(perSecond).padStart(6)} calls per CPU second  ` +
        `the lab makes ${ratio} times as many  (${calls} calls, ${rssMb.toFixed(0)} MB)`,
    );
  }
}

const [role, ...args] = process.argv.slice(2);
if (role === 'serve') serve();
else if (role === 'generate') await generate(args[0]!, Number(args[1]), Number(args[2]), Number(args[3]));
else await main(Number(role ?? 3), Number(args[0] ?? 3000), Number(args[1] ?? 5));
