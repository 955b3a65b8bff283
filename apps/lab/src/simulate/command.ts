import { writeFileSync } from 'node:fs';
import { SluiceError } from '@sluice/client';
import { UsageError } from '../load/scenario.js';
import { guestStormUsage, readGuestStormOptions } from './guest-storm/options.js';
import { guestStormTable } from './guest-storm/report.js';
import { simulateGuestStorm } from './guest-storm/storm.js';
import { readStormOptions, stormUsage } from './login-storm-options.js';
import { simulateLoginStorm } from './login-storm.js';
import { readOptions, usage } from './options.js';
import { stormTable, tableOf } from './report.js';
import { simulateTokenExpiry } from './token-expiry.js';

const PASSED = 0;
const FAILED = 1;
const WRONG_USAGE = 2;
const NOT_PASSED = 99;

interface Simulation {
  readonly summary: string;
  readonly usage: string;
  /** @throws UsageError for options that are wrong; undefined: help was asked for */
  run(args: readonly string[]): Promise<Simulated> | undefined;
}

interface Simulated {
  readonly report: { readonly passed: boolean };
  readonly table: string;
  readonly output: string | undefined;
  readonly jsonOnly: boolean;
}

const simulations: Readonly<Record<string, Simulation>> = {
  'token-expiry': simulation(
    'all calls of all clients meet an expired token',
    usage,
    readOptions,
    simulateTokenExpiry,
    tableOf,
  ),
  'login-storm': simulation(
    'one tenant floods the login, another logs in',
    stormUsage,
    readStormOptions,
    simulateLoginStorm,
    stormTable,
  ),
  'guest-storm': simulation(
    'programs ask for guest tokens whenever they start, fail or are tried',
    guestStormUsage,
    readGuestStormOptions,
    simulateGuestStorm,
    guestStormTable,
  ),
};

function simulation<O extends { output: string | undefined; jsonOnly: boolean }, R extends { passed: boolean }>(
  summary: string,
  text: string,
  read: (args: readonly string[], environment: NodeJS.ProcessEnv) => O | 'help',
  simulateIt: (options: O) => Promise<R>,
  table: (report: R) => string,
): Simulation {
  const go = async (options: O): Promise<Simulated> => {
    const report = await simulateIt(options);
    return { report, table: table(report), output: options.output, jsonOnly: options.jsonOnly };
  };
  return {
    summary,
    usage: text,
    run(args) {
      const options = read(args, process.env);
      return options === 'help' ? undefined : go(options);
    },
  };
}

const help = `Usage: npm run lab -- simulate SIMULATION [options]

${Object.entries(simulations)
  .map(([name, { summary }]) => `  ${name.padEnd(14)} ${summary}`)
  .join('\n')}

Each explains itself with --help.
`;

/** `npm run lab -- simulate …`; its help says the rest. @returns the exit code */
export async function simulate([name, ...args]: readonly string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h') {
    process.stdout.write(help);
    return name === undefined ? WRONG_USAGE : PASSED;
  }
  try {
    const chosen = Object.hasOwn(simulations, name) ? simulations[name] : undefined;
    if (chosen === undefined) {
      throw new UsageError(`there is no simulation ${name}; there is: ${Object.keys(simulations).join(', ')}`);
    }
    const running = chosen.run(args);
    if (running === undefined) {
      process.stdout.write(chosen.usage);
      return PASSED;
    }
    const { report, table, output, jsonOnly } = await running;
    const json = `${JSON.stringify(report, undefined, 2)}\n`;
    if (output !== undefined) writeFileSync(output, json);
    process.stdout.write(jsonOnly ? json : `${table}\n${json}`);
    return report.passed ? PASSED : NOT_PASSED;
  } catch (error) {
    if (error instanceof UsageError) {
      const known = Object.hasOwn(simulations, name) ? `${name} ` : '';
      process.stderr.write(`${error.message}\n\nnpm run lab -- simulate ${known}--help lists what there is.\n`);
      return WRONG_USAGE;
    }
    const { message, cause } = error as Error;
    const trace = error instanceof SluiceError && error.traceId ? `, trace ${error.traceId}` : '';
    process.stderr.write(`The simulation could not run: ${message}${cause ? ` (${String(cause)})` : ''}${trace}\n`);
    return FAILED;
  }
}
