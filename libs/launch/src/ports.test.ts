import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { describeTakenPorts } from '../ports.mjs';

const planned = (port: number) => [{ setting: 'GATEWAY_PORT', host: '127.0.0.1', port }];

test('a listener is named with its process; afterwards the port is free', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const [taken] = await describeTakenPorts(planned(port));
  expect(taken).toMatchObject({ passing: false });
  expect(taken!.line).toContain(`port ${port} (GATEWAY_PORT) is taken`);
  if (process.platform === 'linux') expect(taken!.line).toContain(`by process ${process.pid}: node`);
  server.close();
  await once(server, 'close');
  expect(await describeTakenPorts(planned(port))).toEqual([]);
});

test('an outgoing connection that happens to use the port is told apart', async () => {
  const server = createServer((socket) => socket.on('error', () => {})).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  await once(client, 'connect');
  const [taken] = await describeTakenPorts(planned(client.localPort!));
  client.destroy();
  server.close();
  if (process.platform === 'linux') {
    expect(taken).toMatchObject({ passing: true, line: expect.stringContaining('for an outgoing connection') });
  }
});
