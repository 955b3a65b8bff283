import { expect, test } from 'vitest';
import { plan, PlanError } from './plan.js';
import { PROCESSES } from '../process-table.mjs';

const noPort = () => Promise.reject(new Error('no further port is needed'));
const portsOf = async (environment: Record<string, string>) => {
  const { instances } = await plan(PROCESSES, environment, {}, noPort);
  return Object.fromEntries(instances.flatMap(({ ports }) => ports.map(({ setting, port }) => [setting, port])));
};

test('without settings every port is the usual one', async () => {
  expect(await portsOf({})).toMatchObject({ GATEWAY_PORT: 8083, USER_PORT: 50051, ALLOCATOR_ADMIN_PORT: 9052 });
});

test('PORT_OFFSET moves all ports but those that are set', async () => {
  expect(await portsOf({ PORT_OFFSET: '100', GATEWAY_PORT: '80' })).toMatchObject({
    GATEWAY_PORT: 80,
    GATEWAY_ADMIN_PORT: 9184,
    USER_PORT: 50151,
  });
});

test('the TLS port counts only with a certificate', async () => {
  expect(await portsOf({})).not.toHaveProperty('GATEWAY_TLS_PORT');
  expect(await portsOf({ GATEWAY_TLS_CERT_FILE: 'cert.pem' })).toHaveProperty('GATEWAY_TLS_PORT', 8443);
});

test('replicas get ports of their own and one address setting names them all', async () => {
  let next = 60_001;
  const { instances, shared } = await plan(PROCESSES, {}, { allocator: 3 }, async () => next++);
  expect(instances.map(({ name }) => name)).toEqual(
    expect.arrayContaining(['allocator', 'allocator-2', 'allocator-3']),
  );
  expect(shared.ALLOCATOR_ADDRESS?.split(',')).toEqual(
    instances.filter(({ spec }) => spec.name === 'allocator').map(({ address }) => address),
  );
});

test('an address that the user gives stays', async () => {
  const { shared } = await plan(PROCESSES, { USER_ADDRESS: 'users.internal:443' }, {}, noPort);
  expect(shared).not.toHaveProperty('USER_ADDRESS');
});

test('a gateway on all addresses is reached by loopback', async () => {
  const { gatewayUrl } = await plan(PROCESSES, { GATEWAY_HOST: '0.0.0.0' }, {}, noPort);
  expect(gatewayUrl).toBe('http://127.0.0.1:8083');
});

test.each([
  [{ GATEWAY_PORT: '80x' }, 'GATEWAY_PORT="80x": expected a whole number from 0 to 65535'],
  [{ PORT_OFFSET: '-1' }, 'PORT_OFFSET="-1": expected a whole number from 0 to 15482'],
  [{ GATEWAY_PORT: '50051' }, 'USER_PORT and GATEWAY_PORT are both 50051: expected different ports'],
])('%o is refused', async (environment, message) => {
  const refusal = plan(PROCESSES, environment, {}, noPort);
  await expect(refusal).rejects.toBeInstanceOf(PlanError);
  await expect(refusal).rejects.toThrow(message);
});

test('wrong ports are told together', async () => {
  const environment = {
    PORT_OFFSET: '60000',
    USER_PORT: '99999',
    GATEWAY_PORT: '8443',
    GATEWAY_TLS_CERT_FILE: 'c.pem',
  };
  await expect(plan(PROCESSES, environment, {}, noPort)).rejects.toThrow(
    [
      'PORT_OFFSET="60000": expected a whole number from 0 to 15482',
      'USER_PORT="99999": expected a whole number from 0 to 65535',
      'GATEWAY_PORT and GATEWAY_TLS_PORT are both 8443: expected different ports',
    ].join('\n'),
  );
});

test('copies with round offsets share no port', async () => {
  const taken = new Map<number, string>();
  for (let offset = 0; offset <= 15_482; offset += 100) {
    const ports = await portsOf({ PORT_OFFSET: String(offset), GATEWAY_TLS_CERT_FILE: 'c.pem' });
    for (const [setting, port] of Object.entries(ports)) {
      expect(taken.get(port), `${setting} at ${offset}`).toBeUndefined();
      taken.set(port, `${setting} at ${offset}`);
    }
  }
});
