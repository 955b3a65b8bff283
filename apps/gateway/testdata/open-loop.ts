import { Agent, request } from 'node:http';

export interface LoadResult {
  sent: number;
  answered: number;
  refused: number;
  late: number;
  other: number;
  /** Answers in a second. */
  rate: number;
  /** Milliseconds of those that were answered. */
  p99: number;
}

/**
 * Callers who come at random, whatever becomes of those before them. Resolves when all have their answer.
 *
 * @param rate calls in a second
 */
export async function openLoop(
  port: number,
  rate: number,
  ms: number,
  fields: Record<string, string>,
): Promise<LoadResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: 4000, maxFreeSockets: 4000 });
  const result: LoadResult = { sent: 0, answered: 0, refused: 0, late: 0, other: 0, rate: 0, p99: 0 };
  const took: number[] = [];
  const calls: Promise<void>[] = [];
  const start = performance.now();
  let due = start;
  await new Promise<void>((resolve) => {
    const more = () => {
      const now = performance.now();
      while (due <= now && due < start + ms) {
        calls.push(one(port, agent, fields, result, took));
        due += (-Math.log(1 - Math.random()) / rate) * 1000;
      }
      if (due >= start + ms) resolve();
      else setTimeout(more, 1);
    };
    more();
  });
  await Promise.all(calls);
  agent.destroy();
  took.sort((a, b) => a - b);
  result.rate = (result.answered / ms) * 1000;
  result.p99 = Math.round(took[Math.floor(took.length * 0.99)] ?? 0);
  return result;
}

function one(
  port: number,
  agent: Agent,
  headers: Record<string, string>,
  result: LoadResult,
  took: number[],
): Promise<void> {
  result.sent++;
  const began = performance.now();
  return new Promise((resolve) => {
    const sent = request({ host: '127.0.0.1', port, path: '/v1/echo/a', headers, agent }, (response) => {
      response.resume();
      response.on('end', () => {
        const { statusCode } = response;
        if (statusCode === 200) {
          result.answered++;
          took.push(performance.now() - began);
        } else if (statusCode === 503) result.refused++;
        else if (statusCode === 504) result.late++;
        else result.other++;
        resolve();
      });
    });
    sent.on('error', () => {
      result.other++;
      resolve();
    });
    sent.end();
  });
}
