import type { Turn } from '../model/model.js';

/** The memory of one session. */
export interface Agent {
  /** How many turns the session had when this was true of it. */
  readonly turnCount: number;
  /** The last of them, oldest first. */
  readonly turns: readonly Turn[];
}

/**
 * The agents in memory: the least recently used leaves when there are too many, and is restored when it is asked for again.
 * An agent whose count of turns is not that of the session (another replica answered) is restored as well.
 */
export class Agents {
  /** In the order of their last use. */
  private readonly agents = new Map<string, Agent>();
  restored = 0;

  constructor(
    private readonly max: number,
    /** Older turns stay in Postgres. */
    private readonly turnsRemembered: number,
    private readonly restore: (sessionId: string, turnsMax: number) => Promise<readonly Turn[]>,
  ) {}

  get size(): number {
    return this.agents.size;
  }

  async get(sessionId: string, turnCount: number): Promise<Agent> {
    const known = this.agents.get(sessionId);
    if (known?.turnCount === turnCount) {
      this.put(sessionId, known);
      return known;
    }
    const agent = { turnCount, turns: turnCount === 0 ? [] : await this.restore(sessionId, this.turnsRemembered) };
    if (turnCount > 0) this.restored++;
    this.put(sessionId, agent);
    return agent;
  }

  /** Another turn was saved, after which the session has `turnCount`. */
  learn(sessionId: string, turnCount: number, turn: Turn): void {
    const known = this.agents.get(sessionId);
    // Turns that were saved at the same time are not known in their order: what is in Postgres is.
    if (known?.turnCount !== turnCount - 1) return this.forget(sessionId);
    const turns = [...known.turns, turn];
    this.put(sessionId, { turnCount, turns: turns.slice(Math.max(0, turns.length - this.turnsRemembered)) });
  }

  forget(sessionId: string): void {
    this.agents.delete(sessionId);
  }

  private put(sessionId: string, agent: Agent): void {
    this.agents.delete(sessionId);
    this.agents.set(sessionId, agent);
    if (this.agents.size <= this.max) return;
    const [oldest] = this.agents.keys();
    this.agents.delete(oldest!);
  }
}
