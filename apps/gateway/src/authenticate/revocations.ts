import { create, fromBinary, type MessageShape, type DescMessage, toBinary } from '@bufbuild/protobuf';
import { refusals, type RevocationList } from '@sluice/identity';
import { Problem } from '@sluice/problem';
import type { Call, Channel, Fields } from '@sluice/wire';
import type { Upstream } from '../upstream/upstream.js';

const WATCH = '/sluice.user.v1.RevocationService/WatchRevocations';
const INTROSPECT = '/sluice.user.v1.OAuthService/Introspect';

/** The sender speaks at least every two seconds; after so much silence the stream is lost. In milliseconds. */
const LOST_MS = 5000;
const RESTART_MS = 250;
const INTROSPECTION_MS = 1000;
/** A verdict of introspection serves the calls of this long, in milliseconds: what an ended session may outlive. */
const VERDICT_MS = 1000;
const VERDICTS_MAX = 10_000;

const KEY_PREFIX = 'key:';

/** An API key that was revoked, or changed and works on. */
export interface KeyChange {
  readonly keyId: string;
  readonly ended: boolean;
}

function keyChange({ sessionId, changed }: { sessionId: string; changed: boolean }): KeyChange {
  return { keyId: sessionId.slice(KEY_PREFIX.length), ended: !changed };
}

export interface RevocationWatchOptions {
  readonly list: RevocationList;
  /** The upstream that tells, as it is configured at the time of asking. */
  upstream(): Upstream | undefined;
  readonly whenLost: 'serve' | 'introspect';
  /** Told of API keys, which the list does not hold: a key that ended may work again. */
  keysEnded?(changes: readonly KeyChange[]): void;
  /** Told when the stream is lost and when it is back. */
  changed(fresh: boolean, reason: string): void;
}

/**
 * Keeps a list of ended sessions current by the stream of the user service, and says what to do while it is not:
 * go on with what is known, or ask about each token.
 */
export class RevocationWatch {
  private call: Call | undefined;
  /** What the stream runs over. */
  private channel: Channel | undefined;
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;
  private wasFresh = false;
  private readonly verdicts = new Map<string, { active: boolean; untilMs: number }>();

  constructor(private readonly options: RevocationWatchOptions) {}

  /** Whether every session that ended a moment ago is known. */
  get fresh(): boolean {
    return this.options.list.ageMs() < LOST_MS;
  }

  /** How long ago the sender last said that the list is current, in seconds. */
  get ageSeconds(): number {
    return this.options.list.ageMs() / 1000;
  }

  start(): void {
    const { list, upstream } = this.options;
    const from = upstream();
    const method = from?.schema.methods.get(WATCH);
    if (!from || !method) return this.restart('there is no upstream that tells of ended sessions');
    const { input, output } = method.desc;
    const quiet = setInterval(() => {
      if (!this.fresh) this.call?.cancel();
    }, LOST_MS);
    quiet.unref();
    this.channel = from.channel;
    this.call = from.channel.start(
      from.channel.method(WATCH),
      metadataFor(from),
      { unlimited: true },
      {
        onHeaders: () => undefined,
        onMessage: (bytes) => {
          const batch = read(output, bytes) as unknown as {
            revocations: { sessionId: string; untilMs: bigint; changed: boolean }[];
            cursor: string;
          };
          const ofKeys = batch.revocations.filter(({ sessionId }) => sessionId.startsWith(KEY_PREFIX));
          if (ofKeys.length > 0) this.options.keysEnded?.(ofKeys.map(keyChange));
          list.apply(
            batch.revocations
              .filter(({ sessionId }) => !sessionId.startsWith(KEY_PREFIX))
              .map(({ sessionId, untilMs }) => ({ sessionId, untilMs: Number(untilMs) })),
            batch.cursor,
          );
          this.tell(true, 'the stream of ended sessions is current');
        },
        onEnd: ({ message }) => {
          clearInterval(quiet);
          this.restart(message);
        },
      },
    );
    this.call.write(toBinary(input, create(input, { cursor: list.cursor } as never)));
    this.call.end();
  }

  /** Goes over to the upstream as it is configured now, when that is another; the cursor makes sure that nothing is missed. */
  follow(): void {
    if (this.options.upstream()?.channel !== this.channel) this.call?.cancel();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.call?.cancel();
  }

  /**
   * Called for a token that was found valid. Undefined: it counts.
   *
   * @returns a promise that rejects with Problem SESSION_REVOKED or UNAVAILABLE, while the stream is lost and tokens are asked about
   */
  check(token: string): Promise<void> | undefined {
    if (this.options.whenLost === 'serve' || this.fresh) return undefined;
    const known = this.verdicts.get(token);
    const verdict = known && known.untilMs > Date.now() ? Promise.resolve(known.active) : this.introspect(token);
    return verdict.then((active) => {
      if (!active) throw refusals.revoked;
    });
  }

  private introspect(token: string): Promise<boolean> {
    const from = this.options.upstream();
    const method = from?.schema.methods.get(INTROSPECT);
    return new Promise((resolve, reject) => {
      const unknown = (cause: string) =>
        reject(new Problem('UNAVAILABLE', 'Whether the session has ended cannot be known at present.', { cause }));
      if (!from || !method) return unknown('no upstream answers introspection');
      const { input, output } = method.desc;
      let active: boolean | undefined;
      from.channel.unary(
        from.channel.method(INTROSPECT),
        metadataFor(from),
        toBinary(input, create(input, { token } as never)),
        { deadline: Date.now() + INTROSPECTION_MS, idempotent: true },
        {
          onHeaders: () => undefined,
          onMessage: (bytes) => (active = (read(output, bytes) as unknown as { active: boolean }).active),
          onEnd: ({ code, message }) => {
            if (code !== 0 || active === undefined) return unknown(message);
            if (this.verdicts.size >= VERDICTS_MAX) this.verdicts.clear();
            this.verdicts.set(token, { active, untilMs: Date.now() + VERDICT_MS });
            resolve(active);
          },
        },
      );
    });
  }

  private restart(reason: string): void {
    this.call = undefined;
    if (this.stopped) return;
    if (!this.fresh) this.tell(false, reason);
    this.timer = setTimeout(() => this.start(), RESTART_MS);
    this.timer.unref();
  }

  private tell(fresh: boolean, reason: string): void {
    if (fresh === this.wasFresh) return;
    this.wasFresh = fresh;
    this.options.changed(fresh, reason);
  }
}

/** The gateway speaks for itself. */
export function metadataFor({ secretField }: Upstream): Fields {
  const own: Fields = [
    ['x-sluice-subject', 'gateway'],
    ['x-sluice-roles', 'gateway'],
  ];
  return secretField === undefined ? own : [...own, secretField];
}

function read(descriptor: DescMessage, bytes: Uint8Array): MessageShape<DescMessage> {
  return fromBinary(descriptor, bytes);
}
