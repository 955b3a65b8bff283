import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { seededRandom } from './random.js';
import { SessionManager } from './session-manager.js';

const HOUR = 3_600_000;
const FIVE_MINUTES = 300_000;
const manager = (seed = 1) => new SessionManager<string>(HOUR, FIVE_MINUTES, seededRandom(seed));

describe('SessionManager', () => {
  it('gives none before one was created, then random live ones', () => {
    const sessions = manager();
    expect(sessions.pick(0)).toBeUndefined();
    for (let index = 0; index < 10; index++) sessions.add(`s${index}`, 'user', 0);
    const picked = new Set(Array.from({ length: 200 }, () => sessions.pick(1)!.id));
    expect(picked.size).toBe(10);
  });

  it('never gives a session that was idle for an hour', () => {
    const sessions = manager();
    sessions.add('old', 'user', 0);
    expect(sessions.pick(HOUR)).toBeUndefined();
    expect(sessions.expired).toBe(1);
  });

  it('using a session keeps it alive', () => {
    const sessions = manager();
    sessions.add('used', 'user', 0);
    expect(sessions.pick(HOUR - 1)!.id).toBe('used');
    expect(sessions.pick(2 * HOUR - 2)!.id).toBe('used');
  });

  it('cleans up every five minutes, not more often', () => {
    const sessions = manager();
    sessions.add('a', 'user', 0);
    expect(sessions.cleanUp(FIVE_MINUTES - 1)).toBe(0);
    expect(sessions.cleanUp(FIVE_MINUTES)).toBe(0);
    sessions.add('b', 'user', HOUR);
    expect(sessions.cleanUp(HOUR)).toBe(1);
    expect(sessions.count).toBe(1);
    expect(sessions.cleanUp(HOUR + 1)).toBe(0);
  });

  it('gives sessions to delete without calls under way first, and the others only when it must', () => {
    const sessions = manager();
    const busy = sessions.add('busy', 'user', 0);
    sessions.add('free', 'user', 0);
    busy.underWay = 1;
    expect(sessions.takeOne(false)!.id).toBe('free');
    expect(sessions.takeOne(false)).toBeUndefined();
    expect(sessions.takeOne(true)!.id).toBe('busy');
    expect(sessions.takeOne(true)).toBeUndefined();
  });

  it('counts each session once, whatever is done in whatever order', () => {
    const steps = fc.array(fc.tuple(fc.constantFrom('add', 'pick', 'gone', 'take', 'clean'), fc.nat(HOUR)), {
      maxLength: 200,
    });
    fc.assert(
      fc.property(steps, fc.nat(), (history, seed) => {
        const sessions = manager(seed);
        let now = 0;
        let taken = 0;
        for (const [step, later] of history) {
          now += later;
          if (step === 'add') sessions.add(`s${now}`, 'user', now);
          if (step === 'clean') sessions.cleanUp(now);
          if (step === 'take' && sessions.takeOne(true)) taken++;
          const picked = step === 'pick' || step === 'gone' ? sessions.pick(now) : undefined;
          if (step === 'gone' && picked) {
            sessions.gone(picked);
            sessions.gone(picked);
          }
        }
        expect(sessions.created).toBe(sessions.count + sessions.expired + sessions.lost + taken);
      }),
    );
  });
});
