import { Agent, fetch as undiciFetch } from 'undici';

/** Connections of one client of a simulation, from a source address of its own if it has one. */
export function transport({ concurrency }: { readonly concurrency: number }, localAddress: string | undefined) {
  const agent = new Agent({
    connections: concurrency,
    ...(localAddress !== undefined && { localAddress }),
  });
  // The platform's fetch and undici's are the same but for the package that their types come from.
  const send = ((input: string | URL, init?: object) =>
    undiciFetch(input, { ...init, dispatcher: agent })) as unknown as typeof fetch;
  return { send, agent };
}
