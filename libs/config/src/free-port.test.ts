import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { ConfigurationError, requireFreePort } from './index.js';

test('a taken port is told with its setting and who holds it; a free one, and any one, are let through', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const asked = requireFreePort('GATEWAY_ADMIN_PORT', '127.0.0.1', port);
  await expect(asked).rejects.toBeInstanceOf(ConfigurationError);
  await expect(asked).rejects.toThrow(
    `GATEWAY_ADMIN_PORT=${port}: expected a free port of 127.0.0.1; this one is taken`,
  );
  if (process.platform === 'linux') await expect(asked).rejects.toThrow(`by process ${process.pid}: node`);
  server.close();
  await once(server, 'close');
  await requireFreePort('GATEWAY_ADMIN_PORT', '127.0.0.1', port);
  await requireFreePort('GATEWAY_ADMIN_PORT', '127.0.0.1', 0);
});
