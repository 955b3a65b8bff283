import { lookup } from 'node:dns';
import { Alarm } from '../timers/wheel.js';
import { addressOf, parseTarget, type Address, type TargetPart } from './address.js';

/** At most one lookup of a name per so long. */
const PAUSE_MS = 1_000;

/** Keeps the addresses of a target up to date: at first use, every so often, and soon after a failure. */
export class Resolver {
  private readonly parts: readonly TargetPart[];
  /** What each part stood for when it was last known. */
  private readonly known: (readonly Address[])[];
  private readonly alarm = new Alarm(() => this.resolve());
  private pending = 0;
  private lastAt = 0;
  private stopped = false;
  /** Why no name could be resolved at the last attempt. */
  trouble: string | undefined;

  /** @throws TypeError for a target that is not one. */
  constructor(
    target: string,
    private readonly everyMs: number,
    private readonly onAddresses: (addresses: readonly Address[]) => void,
  ) {
    this.parts = parseTarget(target);
    this.known = this.parts.map((part) => (part.resolve ? [] : [part]));
  }

  /** Looks every name up now. */
  resolve(): void {
    if (this.stopped || this.pending > 0) return;
    this.lastAt = Date.now();
    const names = this.parts.filter((part) => part.resolve).length;
    if (names === 0) return this.onAddresses(this.all());
    this.pending = names;
    this.parts.forEach((part, at) => {
      if (!part.resolve) return;
      lookup(part.host, { all: true, order: 'ipv4first' }, (error, found) => {
        if (error === null && found.length > 0) {
          this.known[at] = found.map(({ address }) => addressOf(address, part.port, part.host));
          this.trouble = undefined;
        } else this.trouble = `${part.host} cannot be resolved: ${error?.code ?? 'no address'}`;
        if (--this.pending === 0) this.done();
      });
    });
  }

  /** Something failed: looks again, unless it has just done so. */
  soon(): void {
    if (this.stopped || this.pending > 0 || this.parts.every((part) => !part.resolve)) return;
    this.alarm.setTimer(this.lastAt + PAUSE_MS - Date.now());
  }

  stop(): void {
    this.stopped = true;
    this.alarm.clearTimer();
  }

  private done(): void {
    if (this.stopped) return;
    this.alarm.setTimer(this.trouble === undefined ? this.everyMs : PAUSE_MS);
    this.onAddresses(this.all());
  }

  private all(): Address[] {
    const byKey = new Map<string, Address>();
    for (const addresses of this.known) for (const address of addresses) byKey.set(address.key, address);
    return [...byKey.values()];
  }
}
