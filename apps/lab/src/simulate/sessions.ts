import { createClient, type SluiceClient } from '@sluice/client';
import { loopbackAddress } from '../load/address-pool.js';
import { expiredToken } from './expired-token.js';
import type { ExpiryOptions } from './options.js';
import { transport } from './transport.js';
import type { WireTap } from './wire-tap.js';

/** One client of the simulation, on connections of its own. */
export interface SimulatedClient {
  readonly client: SluiceClient;
  readonly paths: readonly string[];
  /** Puts an expired access token in place of the session's. */
  expire(): Promise<void>;
  close(): Promise<void>;
}

/** Accounts are made and signed in this many at a time: hashing passwords is meant to be slow. */
const SIGN_INS_AT_ONCE = 8;

/** The client whose tokens were given, or as many new users as were asked for. */
export async function openClients(options: ExpiryOptions, tap: WireTap): Promise<SimulatedClient[]> {
  const { clients } = options;
  if (clients === undefined) return [await givenClient(options, tap)];
  const run = `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 6)}`;
  const opened: SimulatedClient[] = [];
  let next = 0;
  try {
    await Promise.all(
      Array.from({ length: Math.min(SIGN_INS_AT_ONCE, clients) }, async () => {
        while (next < clients) opened.push(await newUser(options, tap, run, next++));
      }),
    );
  } catch (error) {
    await Promise.all(opened.map((client) => client.close()));
    throw error;
  }
  return opened;
}

async function givenClient(options: ExpiryOptions, tap: WireTap): Promise<SimulatedClient> {
  const { initialToken, refreshToken, userId } = options;
  const { send, agent } = transport(options, undefined);
  const client = createClient({ baseUrl: options.apiUrl, fetch: tap.wrap(send) });
  const token = initialToken ?? expiredToken(undefined, userId);
  await client.setSession({ access_token: token, ...(refreshToken && { refresh_token: refreshToken }) });
  return {
    client,
    paths: pathsOf(options),
    async expire() {
      const session = await client.session();
      if (session !== undefined) await client.setSession({ ...session, access_token: token });
    },
    close: () => agent.close(),
  };
}

async function newUser(options: ExpiryOptions, tap: WireTap, run: string, index: number): Promise<SimulatedClient> {
  const { send, agent } = transport(options, loopbackAddress(index));
  const account = { email: `token-expiry-${run}-${index}@example.com`, password: `${run}-${index}-password` };
  // What prepares the run and cleans up after it is not counted.
  const setUp = createClient({ baseUrl: options.apiUrl, fetch: send });
  try {
    await setUp.register(account);
    const session = await setUp.login(account);
    const client = createClient({ baseUrl: options.apiUrl, fetch: tap.wrap(send) });
    await client.setSession(session);
    return {
      client,
      paths: pathsOf(options),
      async expire() {
        const current = await client.session();
        if (current === undefined) return;
        await client.setSession({ ...current, access_token: expiredToken(current.access_token, account.email) });
      },
      async close() {
        await setUp.setSession(await client.session());
        await setUp.logout().catch(() => undefined);
        await agent.close();
      },
    };
  } catch (error) {
    await agent.close();
    throw error;
  }
}

function pathsOf({ endpoints, batchSize }: ExpiryOptions): string[] {
  return Array.from({ length: batchSize }, (_, index) => endpoints[index % endpoints.length] as string);
}
