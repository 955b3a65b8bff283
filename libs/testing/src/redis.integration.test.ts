import { createConnection } from 'node:net';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { redisMissing, startRedis } from './index.js';

async function ask(port: number, command: string): Promise<string> {
  const socket = createConnection({ port, host: '127.0.0.1' });
  socket.write(`${command}\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return answer.toString();
}

describe.skipIf(redisMissing)(`redis-server${redisMissing ? ` (${redisMissing})` : ''}`, () => {
  test('answers, is lost when killed, and comes back empty on the same port', async () => {
    const redis = await startRedis();
    expect(await ask(redis.port, 'SET key value')).toContain('+OK');
    await redis.kill();
    await expect(ask(redis.port, 'PING')).rejects.toThrow('ECONNREFUSED');
    await redis.restart();
    expect(await ask(redis.port, 'GET key')).toContain('$-1');
    await redis.stop();
  });

  test('ends when it is paused, too', async () => {
    const redis = await startRedis();
    redis.pause();
    await redis.stop();
    await expect(ask(redis.port, 'PING')).rejects.toThrow('ECONNREFUSED');
  });
});
