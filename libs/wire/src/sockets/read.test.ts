import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readFrom } from './read.js';

const listener = createServer();
let client: Socket;
let accepted: Socket;

beforeEach(async () => {
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  client = connect((listener.address() as AddressInfo).port, '127.0.0.1');
  [accepted] = (await once(listener, 'connection')) as [Socket];
});
afterEach(async () => {
  client.destroy();
  accepted.destroy();
  listener.close();
  await once(listener, 'close');
});

describe('an accepted socket', () => {
  it('is read into the shared buffer, by this version of Node too, and hears the end', async () => {
    const memory = new Set<ArrayBufferLike>();
    let text = '';
    readFrom(accepted, (octets) => {
      memory.add(octets.buffer);
      text += octets.toString('latin1');
    });
    expect(accepted.listenerCount('data')).toBe(0);
    client.write('one');
    await expect.poll(() => text).toBe('one');
    client.end('two');
    await once(accepted, 'end');
    expect(text).toBe('onetwo');
    expect(memory.size).toBe(1);
  });

  it('is not read while it is paused', async () => {
    let octets = 0;
    readFrom(accepted, ({ length }) => (octets += length));
    client.write('a');
    await expect.poll(() => octets).toBe(1);
    accepted.pause();
    // More than the kernel takes for a socket that nobody reads.
    client.write(Buffer.alloc(64 * 2 ** 20));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(octets).toBe(1);
    expect(client.writableLength).toBeGreaterThan(0);
    accepted.resume();
    await expect.poll(() => octets, { timeout: 5_000 }).toBe(1 + 64 * 2 ** 20);
  });
});
