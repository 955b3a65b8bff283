import { describe, expect, it, vi } from 'vitest';
import { MemoryAccount, SMALL_OCTETS } from './account.js';
import { Holding } from './holding.js';
import { SharedMemory } from './shared-memory.js';

const KIB = 1024;
const WAIT_MS = 60;

/** 800 KiB for all, 400 for an address, 200 for a connection. */
function connection(memory: SharedMemory, address = new MemoryAccount(400 * KIB, memory)): MemoryAccount {
  return new MemoryAccount(200 * KIB, address);
}

/** Holds so many KiB, if there is room. */
function holding(account: MemoryAccount, kib: number): Holding & { told: string[] } {
  const told: string[] = [];
  const made = new Holding(account, { onRoom: () => told.push('room'), onNoRoom: () => told.push('none') });
  made.change(kib * KIB);
  return Object.assign(made, { told });
}

describe('an account', () => {
  it('counts at every level, and is given back with its connection', () => {
    const memory = new SharedMemory(800 * KIB, WAIT_MS);
    const one = connection(memory);
    const held = holding(one, 100);
    expect([one.held, one.top.held, memory.held]).toEqual([100 * KIB, 100 * KIB, 100 * KIB]);
    one.close();
    expect(memory.held).toBe(0);
    // What ends later than its connection takes nothing from the others.
    held.end();
    expect([one.held, memory.held]).toEqual([0, 0]);
  });

  it('keeps the last part of each limit for small things', () => {
    const memory = new SharedMemory(800 * KIB, WAIT_MS);
    const one = connection(memory);
    holding(one, 180);
    expect(one.hasRoom).toBe(false);
    expect(one.exhausted).toBe(false);
    const small = new Holding(one, { onRoom: vi.fn<() => void>(), onNoRoom: vi.fn<() => void>() });
    small.change(SMALL_OCTETS / 4);
    expect(small.hasRoom()).toBe(true);
    small.change(SMALL_OCTETS / 4);
    expect(one.exhausted).toBe(true);
    expect(small.hasRoom()).toBe(false);
  });

  it('lets one of each address go on beyond its limits; the next one when that is done', async () => {
    const memory = new SharedMemory(800 * KIB, 60_000);
    const one = connection(memory);
    const [first, second] = [holding(one, 150), holding(one, 150)];
    expect([first.hasRoom(), second.hasRoom()]).toEqual([true, false]);
    // There is no room for the second without the first being done.
    holding(one, 200);
    first.end();
    await expect.poll(() => second.told).toEqual(['room']);
  });

  it('lets nobody go first while what is complete is not taken', async () => {
    const memory = new SharedMemory(800 * KIB, WAIT_MS);
    const one = connection(memory);
    one.hold(210 * KIB);
    const waiting = holding(one, 90);
    expect(waiting.hasRoom()).toBe(false);
    await expect.poll(() => waiting.told).toEqual(['none']);
    one.release(210 * KIB);
    expect(waiting.hasRoom()).toBe(true);
    one.close();
    expect(memory.held).toBe(0);
  });

  it('tells who waited for too long', async () => {
    const memory = new SharedMemory(800 * KIB, WAIT_MS);
    const one = connection(memory);
    const [first, second] = [holding(one, 150), holding(one, 150)];
    expect([first.hasRoom(), second.hasRoom()]).toEqual([true, false]);
    await expect.poll(() => second.told).toEqual(['none']);
    expect(memory.counters.refused).toBe(1);
  });
});

describe('when the memory for all is used up', () => {
  function attacked() {
    const memory = new SharedMemory(800 * KIB, WAIT_MS);
    const attackers = [0, 1, 2].map(() => connection(memory));
    const shed = attackers.map((account, at) => {
      account.shed = vi.fn<() => void>();
      account.hold((260 + at * 10) * KIB);
      return account.shed;
    });
    return { memory, shed };
  }

  it('whoever holds most gives way to who waits', async () => {
    const { memory, shed } = attacked();
    const honest = holding(connection(memory), 100);
    expect(honest.hasRoom()).toBe(false);
    await expect.poll(() => honest.told).toEqual(['room']);
    expect(shed.map((each) => vi.mocked(each!).mock.calls.length)).toEqual([0, 0, 1]);
    expect(memory.counters).toEqual({ refused: 0, shed: 1 });
  });

  it('and to calls that need little, at once', () => {
    const { memory, shed } = attacked();
    const honest = connection(memory);
    expect(honest.exhausted).toBe(true);
    expect(honest.relieve()).toBe(true);
    expect(shed.filter((each) => vi.mocked(each!).mock.calls.length > 0)).toHaveLength(1);
  });

  it('a proxy, which cannot be shed, does not', () => {
    const memory = new SharedMemory(800 * KIB, WAIT_MS);
    const proxy = new MemoryAccount(Infinity, memory);
    proxy.hold(900 * KIB);
    expect(connection(memory).relieve()).toBe(false);
    expect(proxy.held).toBe(900 * KIB);
  });
});
