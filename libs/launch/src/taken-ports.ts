import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { isPortFree } from './free-port.js';
import type { PlannedPort } from './plan.js';

/** One line per port that something else holds: the port, the setting that moves it, and the holder when it can be known. */
export async function describeTakenPorts(ports: readonly PlannedPort[]): Promise<string[]> {
  const lines: string[] = [];
  for (const { setting, host, port } of ports) {
    if (await isPortFree(port, host)) continue;
    lines.push(`port ${port} (${setting}) is taken${holderOf(port)}`);
  }
  return lines;
}

/** ` by process 17: node server.js`, from /proc; less where there is none or the process belongs to another user. */
function holderOf(port: number): string {
  const sockets = [...socketsOn('/proc/net/tcp', port), ...socketsOn('/proc/net/tcp6', port)];
  const listening = sockets.filter(({ listens }) => listens);
  // The kernel also hands out these numbers to outgoing connections.
  const how = listening.length > 0 ? '' : ' for an outgoing connection (it ends by itself: try again)';
  const inodes = new Set((listening.length > 0 ? listening : sockets).map(({ inode }) => inode));
  if (inodes.size === 0) return '';
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name))) {
    for (const descriptor of list(`/proc/${pid}/fd`)) {
      const socket = /^socket:\[(\d+)\]$/.exec(readLink(`/proc/${pid}/fd/${descriptor}`))?.[1];
      if (socket !== undefined && inodes.has(socket)) return ` by process ${pid}: ${commandOf(pid)}${how}`;
    }
  }
  return ` by a process of another user${how}`;
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
