import { Problem } from '@sluice/problem';

/** Work that waits for one key at most. */
const WAITING_MAX = 500;

interface Line {
  last: Promise<unknown>;
  length: number;
}

/**
 * Work of one key in this process, one piece after another. What would wait for the same lock in the database waits here instead,
 * where it holds no connection.
 */
export class Turns {
  private readonly lines = new Map<string, Line>();

  /** @throws Problem OVERLOADED when too much waits for the key already; whatever the work throws */
  async take<T>(key: string, work: () => Promise<T>): Promise<T> {
    const line = this.lines.get(key) ?? { last: Promise.resolve(), length: 0 };
    if (line.length >= WAITING_MAX) {
      throw new Problem('OVERLOADED', 'Too many requests of this address wait.', { details: { retry_after_ms: 1000 } });
    }
    const turn = line.last.then(work);
    // The next piece comes whether this one fails or not.
    line.last = turn.catch(() => undefined);
    line.length++;
    this.lines.set(key, line);
    try {
      return await turn;
    } finally {
      line.length--;
      if (line.length === 0) this.lines.delete(key);
    }
  }
}
