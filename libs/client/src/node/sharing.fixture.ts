/**
 * A process of its own with a client on a shared folder: `BASE_URL FOLDER CALLS [guest]`. Says `ready`, waits for a line,
 * makes its calls at once, and prints their statuses.
 */
import { once } from 'node:events';
import { createClient, fileLock, fileStore } from '../index.js';

const [baseUrl = '', folder = '', calls = '1', guest] = process.argv.slice(2);
const client = createClient({ baseUrl, store: fileStore(folder), lock: fileLock(folder), guest: guest === 'guest' });
console.log('ready');
await once(process.stdin, 'data');
const statuses = await Promise.all(
  Array.from({ length: Number(calls) }, async () => {
    const response = await client.fetch('/me');
    await response.arrayBuffer();
    return response.status;
  }),
);
console.log(JSON.stringify(statuses));
process.exit(0);
