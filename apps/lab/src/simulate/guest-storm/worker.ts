/** One of the services of a guest storm: does what it is told over IPC, with the client, and says what came of it. */
import { createClient, fileLock, fileStore, SluiceError, type SluiceClient } from '@sluice/client';
import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { transport } from '../transport.js';
import type { Occasion } from './story.js';

/** What a service is started with. */
export interface Service {
  readonly apiUrl: string;
  readonly folder: string;
  readonly localAddress: string | undefined;
}

/** A request for a guest token that went over the wire. */
export interface Asked {
  readonly status: number;
  readonly sessionId: string;
  readonly policy: string;
}

/** What came of an occasion: a request, or what made it unnecessary. */
export interface OccasionOutcome {
  readonly occasion: Occasion;
  readonly asked: readonly Asked[];
  /** What avoided a request, or the error's code. */
  readonly by: string;
}

const service = JSON.parse(process.argv[2] as string) as Service;
const { send, agent } = transport({ concurrency: 6 }, service.localAddress);
let asked: Asked[] = [];
/** What the next call is answered with, in place of the gateway: the failure that the story is about. */
let fault: { status: number; code: string; details: object } | undefined;

const watched = (async (input: string, init?: RequestInit) => {
  if (fault !== undefined && !input.includes('/auth/')) return Response.json(fault, { status: fault.status });
  const response = await send(input, init);
  if (input.endsWith('/auth/guest')) {
    const body = (await response.clone().json()) as { session_id?: string; details?: { policy?: string } };
    asked.push({
      status: response.status,
      sessionId: body.session_id ?? '',
      policy: body.details?.policy ?? '',
    });
  }
  return response;
}) as unknown as typeof fetch;

function clientIn(folder: string, deviceId?: string): SluiceClient {
  return createClient({
    baseUrl: service.apiUrl,
    store: fileStore(folder),
    lock: fileLock(folder),
    guest: deviceId === undefined ? true : { deviceId },
    fetch: watched,
  });
}

/** A client as it is after the occasion: a new process has none in memory, and an empty disk none at all. */
async function clientFor({ what }: Occasion): Promise<SluiceClient> {
  if (what !== 'restart_without_store') return clientIn(service.folder);
  const ledger = JSON.parse((await fileStore(service.folder).get('guest')) ?? '{}') as { device_id?: string };
  return clientIn(await mkdtemp(join(service.folder, 'empty-')), ledger.device_id);
}

async function run(occasion: Occasion): Promise<OccasionOutcome> {
  asked = [];
  const client = await clientFor(occasion);
  const hadToken = (await client.session()) !== undefined;
  try {
    if (occasion.what.startsWith('retry')) await failingCall(client, occasion.what === 'retry_spent');
    await client.guest.acquire({ cause: occasion.cause });
    const by = asked.length > 0 ? 'asked' : hadToken ? 'live_token' : 'shared_store';
    return { occasion, asked, by };
  } catch (error) {
    const reason = error instanceof SluiceError ? (error.details['reason'] ?? error.code) : (error as Error).name;
    return { occasion, asked, by: String(reason) };
  }
}

async function failingCall(client: SluiceClient, spent: boolean): Promise<void> {
  fault = spent
    ? { status: 429, code: 'BUDGET_EXHAUSTED', details: { blocked_by: 'budget' } }
    : { status: 503, code: 'UNAVAILABLE', details: {} };
  try {
    await client.fetch('/me');
  } finally {
    fault = undefined;
  }
}

process.on('message', async (occasion: Occasion | 'stop') => {
  if (occasion === 'stop') {
    await agent.close();
    process.disconnect();
  } else process.send?.(await run(occasion));
});
