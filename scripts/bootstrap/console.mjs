/**
 * What the entry points print while they work: a step when it begins to take long, and when it is done.
 */

// Whoever read this may have left, or the disk is full: what runs goes on.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);

/** A step shorter than this is reported only by its result. */
const QUIET_MS = 1_500;
const HEARTBEAT_MS = 5_000;

export const seconds = (sinceMs) => `${((Date.now() - sinceMs) / 1000).toFixed(1)} s`;

/** Prints one aligned line: what, and how it stands. */
export function line(thing, state) {
  console.log(`  ${thing.padEnd(11)} ${state}`);
}

/** Runs `work`, saying after a moment, and every 5 s, that it is still going on. */
export async function step(thing, doing, work) {
  const began = Date.now();
  let heartbeat;
  const first = setTimeout(() => {
    line(thing, `${doing}…`);
    heartbeat = setInterval(() => line(thing, `${doing}… ${seconds(began)}`), HEARTBEAT_MS);
  }, QUIET_MS);
  try {
    return await work();
  } finally {
    clearTimeout(first);
    clearInterval(heartbeat);
  }
}

/** Ends the script with a message and no stack: for what the user can mend. */
export class Stop extends Error {
  constructor(message, code = 1) {
    super(message);
    this.code = code;
  }
}

export function exitOnStop(error) {
  if (error instanceof Stop) console.error(`\n${error.message}`);
  else console.error(error);
  process.exit(error instanceof Stop ? error.code : 1);
}
