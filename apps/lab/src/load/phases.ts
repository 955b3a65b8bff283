export const phaseNames = ['start', 'grow', 'hold', 'clean up'] as const;
export type PhaseName = (typeof phaseNames)[number];

/** Parts of an hour: 5 minutes to start, 25 to grow, 25 to hold, 5 to clean up. */
const PARTS = [5, 25, 25, 5] as const;
const WHOLE = 60;

/** The moments at which a run changes, in milliseconds from its start. */
export interface Phases {
  readonly growMs: number;
  readonly holdMs: number;
  readonly cleanUpMs: number;
  readonly endMs: number;
}

/** Divides a run in proportion to {@link PARTS}. */
export function phasesOf(totalMs: number): Phases {
  const at = (count: number) => (PARTS.slice(0, count).reduce((sum, part) => sum + part, 0) / WHOLE) * totalMs;
  return { growMs: at(1), holdMs: at(2), cleanUpMs: at(3), endMs: totalMs };
}

export function phaseAt(phases: Phases, elapsedMs: number): PhaseName {
  if (elapsedMs < phases.growMs) return 'start';
  if (elapsedMs < phases.holdMs) return 'grow';
  return elapsedMs < phases.cleanUpMs ? 'hold' : 'clean up';
}

/** The share of the full rate at the start of the growth. */
const RAMP_FROM = 0.1;

/** The share of the full message rate: none at the start, rising through the growth, all of it in the hold, none in the clean-up. */
export function messageShare(phases: Phases, elapsedMs: number): number {
  switch (phaseAt(phases, elapsedMs)) {
    case 'start':
    case 'clean up':
      return 0;
    case 'grow':
      return RAMP_FROM + (1 - RAMP_FROM) * ((elapsedMs - phases.growMs) / (phases.holdMs - phases.growMs));
    case 'hold':
      return 1;
  }
}
