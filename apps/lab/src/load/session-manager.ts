import { type Request, RequestHead } from './request.js';

/** A session that was created and is thought to be alive on the server. */
export interface LiveSession<User> {
  readonly id: string;
  readonly user: User;
  /** What is asked of it. */
  readonly requests: SessionRequests;
  lastUsedMs: number;
  /** Calls that were sent to it and have not ended. */
  underWay: number;
  /** Its place in the list of live sessions; -1 when it has left. */
  place: number;
}

interface SessionRequests {
  readonly session: Request;
  readonly history: Request;
  readonly delete: Request;
  /** The text differs from message to message. */
  readonly message: RequestHead;
}

function requestsOf(sessionId: string): SessionRequests {
  const path = `/api/v1/sessions/${encodeURIComponent(sessionId)}`;
  return {
    session: { head: new RequestHead('GET', path), keep: 'nothing' },
    history: { head: new RequestHead('GET', `${path}/messages`), keep: 'nothing' },
    delete: { head: new RequestHead('DELETE', path), keep: 'nothing' },
    message: new RequestHead('POST', `${path}/messages`, 'application/x-ndjson'),
  };
}

/**
 * The live sessions: created first, then each message goes to a random one. A session that was idle for `idleMs` is taken for
 * expired, as on the server, and removed by a clean-up every `cleanUpEveryMs`.
 */
export class SessionManager<User> {
  private readonly live: LiveSession<User>[] = [];
  private nextCleanUpMs: number;
  created = 0;
  /** Live at once, at the most. */
  most = 0;
  expired = 0;
  /** The server did not know them any more. */
  lost = 0;

  constructor(
    private readonly idleMs: number,
    private readonly cleanUpEveryMs: number,
    private readonly random: () => number,
    startMs = 0,
  ) {
    this.nextCleanUpMs = startMs + cleanUpEveryMs;
  }

  get count(): number {
    return this.live.length;
  }

  add(id: string, user: User, nowMs: number): LiveSession<User> {
    const session = { id, user, requests: requestsOf(id), lastUsedMs: nowMs, underWay: 0, place: this.live.length };
    this.live.push(session);
    this.created++;
    this.most = Math.max(this.most, this.live.length);
    return session;
  }

  /** A random live session, marked as used; undefined when there is none. */
  pick(nowMs: number): LiveSession<User> | undefined {
    while (this.live.length > 0) {
      const session = this.live[Math.floor(this.random() * this.live.length)]!;
      if (nowMs - session.lastUsedMs < this.idleMs) {
        session.lastUsedMs = nowMs;
        return session;
      }
      this.remove(session);
      this.expired++;
    }
    return undefined;
  }

  /** The server answered that it has no such session. */
  gone(session: LiveSession<User>): void {
    if (this.remove(session)) this.lost++;
  }

  /** A session that is about to be deleted, one without calls under way first; of those with calls only when `anyway`. */
  takeOne(anyway: boolean): LiveSession<User> | undefined {
    const session = this.live.findLast(({ underWay }) => underWay === 0) ?? (anyway ? this.live.at(-1) : undefined);
    if (session) this.remove(session);
    return session;
  }

  /** Removes what was idle too long, when it is time for it. @returns how many were removed */
  cleanUp(nowMs: number): number {
    if (nowMs < this.nextCleanUpMs) return 0;
    this.nextCleanUpMs = nowMs + this.cleanUpEveryMs;
    const idle = this.live.filter((session) => nowMs - session.lastUsedMs >= this.idleMs);
    for (const session of idle) this.remove(session);
    this.expired += idle.length;
    return idle.length;
  }

  private remove(session: LiveSession<User>): boolean {
    if (session.place < 0) return false;
    const last = this.live.pop()!;
    if (last !== session) {
      this.live[session.place] = last;
      last.place = session.place;
    }
    session.place = -1;
    return true;
  }
}
