import { RevocationList } from '@sluice/identity';
import { expect, it } from 'vitest';
import type { OpenStream } from './open-stream.js';
import { SessionStreams } from './session-streams.js';

it('knows what has ended by the list in force, also for calls that began before a reload', () => {
  const [before, after] = [new RevocationList(), new RevocationList()];
  let list = before;
  const streams = new SessionStreams(() => list);
  before.onRevoked = after.onRevoked = (session) => streams.ended(session);
  list = after;
  const open = { sessionEnded: () => (told = true) } as unknown as OpenStream;
  let told = false;
  streams.add('running', open);
  for (const session of ['running', 'late']) after.revoke(session, Date.now() + 60_000);
  expect(told).toBe(true);
  expect(before.isRevoked('late', Date.now())).toBe(false);
  expect([streams.hasEnded('late'), streams.hasEnded('another')]).toEqual([true, false]);
});
