/**
 * Runs once before the services start: generates their secrets where there are none, and makes a role and a schema of its own for each
 * service in Postgres. Safe to repeat. Every service sees only its own folder of /secrets.
 */
import { join } from 'node:path';
import { openSecretFiles, prepareDatabase, PROCESSES, serviceSecrets } from '@sluice/launch';

const FOLDER = '/secrets';
const DATABASE = 'sluice';
const HOST = process.env.POSTGRES_HOST ?? 'postgres';

const superuser = openSecretFiles(join(FOLDER, 'postgres'));
const root = openSecretFiles(join(FOLDER, 'gateway')).value('gateway-secret');
const fileOf = (setting) => setting.toLowerCase().replaceAll('_', '-');
const server = {
  url: (database, user = 'postgres', password = superuser.value('postgres-password')) =>
    `postgres://${user}:${encodeURIComponent(password)}@${HOST}:5432/${database}`,
};

const owners = [];
for (const row of PROCESSES) {
  const { name, secrets, database } = row;
  const files = openSecretFiles(join(FOLDER, name));
  for (const setting of secrets) files.path(fileOf(setting));
  for (const [setting, value] of Object.entries(serviceSecrets(row, root))) files.store(fileOf(setting), value);
  if (database === undefined) continue;
  const password = files.value('postgres-password');
  files.store('database-url', server.url(DATABASE, database.role, password));
  owners.push({ ...database, password });
}
const redisPassword = openSecretFiles(join(FOLDER, 'redis')).value('redis-password');
openSecretFiles(join(FOLDER, 'gateway')).store('redis-url', `redis://:${encodeURIComponent(redisPassword)}@redis:6379`);
await prepareDatabase(server, DATABASE, owners);
console.log(
  `prepared ${owners.map(({ schema }) => schema).join(', ')} and the secrets of ${PROCESSES.map(({ name }) => name).join(', ')}`,
);
