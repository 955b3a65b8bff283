/**
 * What runtimes differ in. Mini-programs have neither URL nor Headers, neither AbortController nor TextDecoder: the client uses
 * the platform's where it has them, and the little that it needs of them where it has not.
 */

/** A controller of the platform, or the part of one that the client uses. */
export function newController(): AbortController {
  return typeof AbortController === 'function' ? new AbortController() : (new PlainController() as AbortController);
}

/** Fires after so long, with a `TimeoutError`. */
export function timeoutSignal(ms: number): AbortSignal {
  if (typeof AbortSignal === 'function' && 'timeout' in AbortSignal) return AbortSignal.timeout(ms);
  const controller = newController();
  setTimeout(() => controller.abort(namedError('TimeoutError', `nothing came within ${ms} ms`)), ms);
  return controller.signal;
}

/** Fires with the first of both. */
export function eitherSignal(one: AbortSignal | null | undefined, other: AbortSignal): AbortSignal {
  if (!one) return other;
  if (typeof AbortSignal === 'function' && 'any' in AbortSignal) return AbortSignal.any([one, other]);
  const controller = newController();
  for (const signal of [one, other]) {
    if (signal.aborted) controller.abort(signal.reason);
    else signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true });
  }
  return controller.signal;
}

/** @throws the reason of a signal that has fired */
export function throwIfAborted(signal: AbortSignal | null | undefined): void {
  if (signal?.aborted) throw reasonOf(signal);
}

export function reasonOf(signal: AbortSignal): Error {
  return (signal.reason as Error | undefined) ?? namedError('AbortError', 'the call was given up');
}

export function namedError(name: string, message: string): Error {
  return Object.assign(new Error(message), { name });
}

class PlainSignal {
  aborted = false;
  reason: unknown;
  readonly #listeners = new Set<() => void>();

  addEventListener(_: string, listener: () => void): void {
    this.#listeners.add(listener);
  }

  removeEventListener(_: string, listener: () => void): void {
    this.#listeners.delete(listener);
  }

  fire(reason: unknown): void {
    if (this.aborted) return;
    this.aborted = true;
    this.reason = reason;
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }
}

class PlainController {
  readonly signal = new PlainSignal() as PlainSignal & AbortSignal;

  abort(reason: unknown = namedError('AbortError', 'the call was given up')): void {
    this.signal.fire(reason);
  }
}

/** Header fields by their names in lower case; a field that comes several times has its values joined. */
export function headerFields(headers: RequestInit['headers']): Record<string, string> {
  const fields: Record<string, string> = {};
  const add = (value: string, name: string) => {
    const key = name.toLowerCase();
    fields[key] = key in fields ? `${fields[key]}, ${value}` : value;
  };
  if (headers === undefined) return fields;
  if (Array.isArray(headers)) for (const [name, value] of headers as [string, string][]) add(value, name);
  else if (typeof (headers as Headers).forEach === 'function') (headers as Headers).forEach(add);
  else for (const name of Object.keys(headers)) add((headers as Record<string, string>)[name] as string, name);
  return fields;
}

/** Turns octets into text, as they come. */
export interface TextSource {
  /** Without octets: the end. */
  decode(octets?: Uint8Array, options?: { stream: boolean }): string;
}

export function newDecoder(): TextSource {
  return typeof TextDecoder === 'function' ? new TextDecoder() : new Utf8Decoder();
}

/** UTF-8 (RFC 3629); what is none becomes U+FFFD. */
export class Utf8Decoder implements TextSource {
  /** Octets of a character that has not ended. */
  #rest: number[] = [];

  decode(octets: Uint8Array = new Uint8Array(0), { stream = false }: { stream?: boolean } = {}): string {
    let text = '';
    for (const octet of octets) {
      if (this.#rest.length > 0 && (octet & 0xc0) !== 0x80) text += this.#flush();
      this.#rest.push(octet);
      const wanted = lengthOf(this.#rest[0] as number);
      if (this.#rest.length >= wanted) text += this.#character(wanted);
    }
    return stream ? text : text + this.#flush();
  }

  #flush(): string {
    const broken = this.#rest.length > 0;
    this.#rest = [];
    return broken ? '\ufffd' : '';
  }

  #character(length: number): string {
    const [first = 0, ...others] = this.#rest;
    this.#rest = [];
    if (length === 1) return first < 0x80 ? String.fromCharCode(first) : '\ufffd';
    const point = others.reduce((bits, octet) => (bits << 6) | (octet & 0x3f), first & (0x7f >> length));
    const least = length === 2 ? 0x80 : length === 3 ? 0x800 : 0x10000;
    const surrogate = point >= 0xd800 && point <= 0xdfff;
    return point < least || point > 0x10ffff || surrogate ? '\ufffd' : String.fromCodePoint(point);
  }
}

/** How many octets a character has that begins with this one. */
function lengthOf(first: number): number {
  return first >= 0xf0 && first < 0xf8 ? 4 : first >= 0xe0 ? (first < 0xf0 ? 3 : 1) : first >= 0xc0 ? 2 : 1;
}
