import type { Channel } from '@sluice/wire';
import { afterEach, beforeEach, describe, expect, it, type Mock, vi } from 'vitest';
import { RetiredRuntimes } from './retired.js';
import type { Runtime } from './runtime.js';

const HOUR_MS = 3_600_000;

interface Fake {
  readonly channel: Channel;
  readonly close: Mock<Channel['close']>;
}

function fakeChannel(): Fake {
  const close = vi.fn<Channel['close']>(() => Promise.resolve());
  return { channel: { close } as unknown as Channel, close };
}

const runtimeOf = (...channels: Fake[]) =>
  ({ inFlight: { calls: 0 }, upstreams: channels.map(({ channel }) => ({ channel })) }) as unknown as Runtime;

describe('the channels of a configuration that was replaced', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('are closed when its last call has ended, however long that takes', () => {
    const old = fakeChannel();
    const before = runtimeOf(old);
    before.inFlight.calls = 1;
    const retired = new RetiredRuntimes(() => runtimeOf(fakeChannel()));
    retired.add(before);
    vi.advanceTimersByTime(HOUR_MS);
    expect(old.close).not.toHaveBeenCalled();
    before.inFlight.calls = 0;
    vi.advanceTimersByTime(2000);
    expect(old.close).toHaveBeenCalledOnce();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('stay open while the current one or another old one uses them', () => {
    const [kept, shared] = [fakeChannel(), fakeChannel()];
    const [first, second] = [runtimeOf(kept, shared), runtimeOf(kept, shared)];
    second.inFlight.calls = 1;
    const retired = new RetiredRuntimes(() => runtimeOf(kept));
    retired.add(first);
    retired.add(second);
    vi.advanceTimersByTime(HOUR_MS);
    expect(shared.close).not.toHaveBeenCalled();
    second.inFlight.calls = 0;
    vi.advanceTimersByTime(2000);
    expect(shared.close).toHaveBeenCalledOnce();
    expect(kept.close).not.toHaveBeenCalled();
  });

  it('are closed with the process, whatever still runs', async () => {
    const old = fakeChannel();
    const before = runtimeOf(old);
    before.inFlight.calls = 1;
    const retired = new RetiredRuntimes(() => runtimeOf());
    retired.add(before);
    await retired.close(1000);
    expect(old.close).toHaveBeenCalledExactlyOnceWith(1000);
    expect(vi.getTimerCount()).toBe(0);
  });
});
