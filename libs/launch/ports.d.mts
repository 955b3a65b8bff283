import type { ProcessSpec } from './process-table.mjs';

export type Environment = Readonly<Record<string, string | undefined>>;

/** A port that is about to be listened on. */
export interface PlannedPort {
  readonly setting: string;
  readonly host: string;
  readonly port: number;
}

export interface TakenPort {
  /** The port, the setting that moves it, and the holder when it can be known. */
  readonly line: string;
  /** Nobody listens on it: an outgoing connection was given its number, and gives it back a minute after its end. */
  readonly passing: boolean;
}

export declare function fixedPorts(
  table: readonly ProcessSpec[],
  environment: Environment,
): { ports: PlannedPort[]; faults: string[] };
export declare function readPort(
  environment: Environment,
  setting: string,
  usual: number,
  most: number,
  faults: string[],
): number;
export declare function describeTakenPorts(ports: readonly PlannedPort[]): Promise<TakenPort[]>;
export declare function takenText(taken: readonly TakenPort[]): string;
