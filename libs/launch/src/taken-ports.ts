import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { isPortFree } from './free-port.js';
import type { PlannedPort } from './plan.js';

export interface TakenPort {
  /** The port, the setting that moves it, and the holder when it can be known. */
  readonly line: string;
  /** Nobody listens on it: an outgoing connection was given its number, and gives it back a minute after its end. */
  readonly passing: boolean;
}

/** The ports that something else holds. */
export async function describeTakenPorts(ports: readonly PlannedPort[]): Promise<TakenPort[]> {
  const taken: TakenPort[] = [];
  for (const { setting, host, port } of ports) {
    if (await isPortFree(port, host)) continue;
    const { holder, passing } = holderOf(port);
    taken.push({ line: `port ${port} (${setting}) is taken${holder}`, passing });
  }
  return taken;
}

/** ` by process 17: node server.js`, from /proc; less where there is none or the process belongs to another user. */
function holderOf(port: number): { holder: string; passing: boolean } {
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
function socketsOn(table: string, port: number): { inode: string; listens: boolean }[] {
  let text: string;
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

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function readLink(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

function commandOf(pid: string): string {
  try {
    const [program = '', ...args] = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    const command = [basename(program), ...args.filter((arg) => !arg.startsWith('--'))].join(' ').trim();
    const folder = readLink(`/proc/${pid}/cwd`);
    return `${command.slice(0, 120)}${folder && ` (in ${folder})`}`;
  } catch {
    return 'unknown';
  }
}
