import { CONTROL_INTERVAL_SECONDS, type BackOff } from './rate-controller.js';
import { type Phases, phasesOf } from './phases.js';
import type { Scenario } from './scenario.js';

/** How the lab appears to come from many addresses. */
export type AddressMode = 'source' | 'forwarded';

export interface LoadOptions {
  /** The gateway, without a path. */
  readonly baseUrl: string;
  /** Scenario minutes pass this many times faster. */
  readonly timeScale: number;
  /** Each address of the scenario is `timeScale` addresses, so that each asks no more in a real minute than unscaled. */
  readonly scaleAddresses: boolean;
  readonly addressMode: AddressMode;
  readonly seed: number;
  readonly callTimeoutMs: number;
}

/** A scenario in real time: what the run does and when. */
export interface LoadPlan extends LoadOptions {
  readonly scenario: Scenario;
  readonly phases: Phases;
  /** Client addresses in use. */
  readonly addressCount: number;
  /** Sessions created per real second. */
  readonly createPerSecond: number;
  /** Calls of live sessions per real second at full rate and multiplier 1. */
  readonly callsPerSecond: number;
  readonly controlIntervalMs: number;
  readonly idleMs: number;
  readonly cleanUpEveryMs: number;
  readonly backOff: BackOff;
  readonly inFlightMax: number;
}

const HOUR_MS = 3_600_000;
const CLEAN_UP_EVERY_MS = 300_000;
/** Creation is planned a fifth faster than its threshold asks, or it could only just be met. */
const CREATE_MARGIN = 1.2;

/** Brings a scenario to real time. Only what the lab does is scaled: the server's limits and waits stay per real minute. */
export function planOf(scenario: Scenario, options: LoadOptions): LoadPlan {
  const { timeScale } = options;
  const phases = phasesOf((scenario.minutes * 60_000) / timeScale);
  return {
    ...options,
    scenario,
    phases,
    addressCount: options.scaleAddresses ? Math.ceil(scenario.addresses * timeScale) : scenario.addresses,
    createPerSecond: Math.max(
      scenario.sessions / (phases.holdMs / 1000),
      scenario.thresholds.create_per_second_min * CREATE_MARGIN * timeScale,
    ),
    callsPerSecond: ((scenario.addresses * scenario.messages_per_minute_per_address) / 60) * timeScale,
    controlIntervalMs: (CONTROL_INTERVAL_SECONDS * 1000) / timeScale,
    idleMs: HOUR_MS / timeScale,
    cleanUpEveryMs: CLEAN_UP_EVERY_MS / timeScale,
    backOff: { firstMs: Math.max(50, 1000 / timeScale), mostMs: Math.max(1_000, 60_000 / timeScale) },
    inFlightMax: 5_000,
  };
}
