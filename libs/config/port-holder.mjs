/**
 * Who holds a port. Plain JavaScript that needs nothing but Node 20, so that `npm start` can ask before anything is installed or built.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { basename } from 'node:path';

/** Whether `port` can be listened on: false when another process holds it or the address is not ours. */
export function isPortFree(port, host) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/**
 * ` by process 17: node server.js`, from /proc; less where there is none or the process belongs to another user. `passing`: nobody
 * listens on it, but an outgoing connection was given its number.
 */
export function holderOf(port) {
  const sockets = [...socketsOn('/proc/net/tcp', port), ...socketsOn('/proc/net/tcp6', port)];
  const listening = sockets.filter(({ listens }) => listens);
  if (sockets.length === 0) return { holder: '', passing: false };
  // The kernel also hands out these numbers to outgoing connections.
  const passing = listening.length === 0;
  const how = passing ? ' for an outgoing connection' : '';
  const inodes = new Set((passing ? sockets : listening).map(({ inode }) => inode));
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const descriptor of list(`/proc/${pid}/fd`)) {
      const socket = /^socket:\[(\d+)\]$/.exec(readLink(`/proc/${pid}/fd/${descriptor}`))?.[1];
      if (socket !== undefined && inodes.has(socket)) {
        return { holder: ` by process ${pid}: ${commandOf(pid)}${how}`, passing };
      }
    }
  }
  return { holder: passing ? how : ' by a process of another user', passing };
}

/** The sockets whose local port is `port`: rows of proc_net_tcp(5), where state 0A is listening. */
function socketsOn(table, port) {
  let text;
  try {
    text = readFileSync(table, 'utf8');
  } catch {
    return [];
  }
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  return text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local]) => local?.endsWith(`:${wanted}`))
    .map((fields) => ({ inode: fields[9] ?? '', listens: fields[3] === '0A' }));
}

function list(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function readLink(path) {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function commandOf(pid) {
  try {
    const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    const command = [basename(program), ...args.filter((arg) => !arg.startsWith('--'))].join(' ').trim();
    const folder = readLink(`/proc/${pid}/cwd`);
    return `${command.slice(0, 120)}${folder && ` (in ${folder})`}`;
  } catch {
    return 'unknown';
  }
}
