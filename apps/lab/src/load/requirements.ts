import { readFileSync } from 'node:fs';
import { availableParallelism, totalmem } from 'node:os';
import { messageShare } from './phases.js';
import type { LoadPlan } from './plan.js';

/** What a run needs of the machine or the installation, and what there is. */
export interface Requirement {
  readonly name: string;
  readonly needed: string;
  readonly found: string;
  readonly met: boolean;
  /** What to do when it is not met. */
  readonly help: string;
  /** Whether a run without it cannot be believed at all, so that it does not begin. */
  readonly stops: boolean;
}

/** Undefined: it cannot be known here. */
export interface Machine {
  readonly cores: number;
  readonly memoryBytes: number;
  readonly availableBytes: number;
  readonly openFiles: number | undefined;
  readonly tokensLeft: number | undefined;
}

const GIB = 2 ** 30;
/** From so many sessions on a run is a large one. */
const LARGE_FROM_SESSIONS = 500;
/** The brief's figures for a thousand sessions; half of them for runs that are not large. */
const LARGE = { cores: 4, gib: 8 };
/** The generator alone, when the services are elsewhere. */
const ALONE = { cores: 1, gib: 1 };
/** The generator held 211 MB after a million calls (ADR 0050). */
const GENERATOR_BYTES = 256 * 2 ** 20;
/** What the process has open besides its connections. */
const OTHER_FILES = 100;
/** What a message costs with the built-in model, with what its agent remembers. */
const TOKENS_PER_MESSAGE = 120;

export function machineHere(tokensLeft: number | undefined): Machine {
  return {
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    availableBytes: process.availableMemory(),
    openFiles: openFilesMax(),
    tokensLeft,
  };
}

/** @param here whether the services under load run on this machine as well */
export function requirementsOf(plan: LoadPlan, machine: Machine, here: boolean): Requirement[] {
  const large = plan.scenario.sessions >= LARGE_FROM_SESSIONS;
  const size = !here ? ALONE : large ? LARGE : { cores: LARGE.cores / 2, gib: LARGE.gib / 2 };
  const doubt = 'the figures say more of the machine than of the system: use a larger one, or fewer sessions';
  const rows: Requirement[] = [
    {
      name: 'cores',
      needed: String(size.cores),
      found: String(machine.cores),
      met: machine.cores >= size.cores,
      help: doubt,
      stops: false,
    },
    {
      name: 'memory',
      needed: gib(size.gib * GIB),
      // A machine of 8 GB says that it has a little less.
      found: gib(machine.memoryBytes),
      met: machine.memoryBytes >= size.gib * GIB * 0.95,
      help: doubt,
      stops: false,
    },
    {
      name: 'free memory',
      needed: gib(GENERATOR_BYTES),
      found: gib(machine.availableBytes),
      met: machine.availableBytes >= GENERATOR_BYTES,
      help: 'the generator itself would be ended: end other programs first',
      stops: true,
    },
  ];
  const { openFiles, tokensLeft } = machine;
  if (openFiles !== undefined) {
    const needed = plan.addressCount + OTHER_FILES;
    rows.push({
      name: 'open files',
      needed: `${needed}`,
      found: `${openFiles}`,
      met: openFiles >= needed,
      help: `each address has a connection of its own: ulimit -n ${Math.max(needed * 2, 4096)}, or fewer --ip-count`,
      stops: true,
    });
  }
  if (tokensLeft !== undefined) {
    const needed = expectedTokens(plan);
    rows.push({
      name: 'tokens',
      needed: `about ${needed}`,
      found: `${tokensLeft}`,
      met: tokensLeft >= needed,
      help: 'calls will be refused by budget: NODE_BUDGET=10000000 npm start, or PATCH /api/v1/nodes/NODE {"capacity":"10000000"}',
      stops: false,
    });
  }
  return rows;
}

/** What the planned messages will cost, at multiplier 1 and by the built-in model. */
export function expectedTokens({ phases, callsPerSecond, scenario }: LoadPlan): number {
  const { message, history, session } = scenario.mix;
  const steps = 200;
  let calls = 0;
  for (let step = 0; step < steps; step++) {
    calls +=
      (callsPerSecond * messageShare(phases, ((step + 0.5) * phases.endMs) / steps) * phases.endMs) / steps / 1000;
  }
  return Math.round(((calls * message) / (message + history + session)) * TOKENS_PER_MESSAGE);
}

/** One line each; those that are not met say what to do. */
export function requirementsText(requirements: readonly Requirement[]): string {
  const lines = requirements.map(({ name, needed, found, met, help }) => {
    const row = `${met ? 'ok    ' : 'SHORT '} ${name.padEnd(12)} ${found} (needed: ${needed})`;
    return met ? row : `${row}: ${help}`;
  });
  return `This run needs:\n${lines.join('\n')}\n`;
}

function openFilesMax(): number | undefined {
  try {
    const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return soft === undefined ? undefined : Number(soft);
  } catch {
    return undefined;
  }
}

const gib = (bytes: number) => `${(bytes / GIB).toFixed(1)} GB`;
