import { abandonable } from './lock.js';
import { newController, reasonOf } from './runtime.js';

interface Flight {
  readonly answer: Promise<Response>;
  readonly controller: AbortController;
  /** Callers that have not left. */
  waiting: number;
  /** Callers that have got their answer, once it is there. */
  served: number;
}

/** Equal GETs that are under way become one. */
export class SharedGets {
  readonly #flights = new Map<string, Flight>();

  /** @returns undefined for what is not shared; calls that change something let no later GET join an earlier one */
  keyOf(
    url: string,
    init: RequestInit,
    fields: Readonly<Record<string, string>>,
    token: string | undefined,
  ): string | undefined {
    const method = (init.method ?? 'GET').toUpperCase();
    if (method !== 'GET' && method !== 'HEAD') {
      this.#flights.clear();
      return undefined;
    }
    // What else an init says may make the answer another one.
    if (!Object.keys(init).every((name) => ['method', 'headers', 'signal'].includes(name))) return undefined;
    return JSON.stringify([method, url, token, Object.entries(fields).sort()]);
  }

  /** @param send must give up when its signal fires: when every caller has left */
  async join(
    key: string,
    signal: AbortSignal | null | undefined,
    send: (signal: AbortSignal) => Promise<Response>,
  ): Promise<Response> {
    const flight = this.#flights.get(key) ?? this.#begin(key, send);
    flight.waiting++;
    try {
      const answer = await abandonable(flight.answer, signal);
      // All but the last get a copy, so that nothing is kept for nobody.
      return ++flight.served < flight.waiting ? answer.clone() : answer;
    } catch (error) {
      flight.waiting--;
      if (flight.waiting === 0 && signal?.aborted) {
        if (this.#flights.get(key) === flight) this.#flights.delete(key);
        flight.controller.abort(reasonOf(signal));
      }
      throw error;
    }
  }

  #begin(key: string, send: (signal: AbortSignal) => Promise<Response>): Flight {
    const controller = newController();
    const flight: Flight = { answer: send(controller.signal), controller, waiting: 0, served: 0 };
    const land = () => {
      if (this.#flights.get(key) === flight) this.#flights.delete(key);
    };
    flight.answer.then(land, land);
    this.#flights.set(key, flight);
    return flight;
  }
}
