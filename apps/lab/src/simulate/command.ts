import { writeFileSync } from 'node:fs';
import { SluiceError } from '@sluice/client';
import { UsageError } from '../load/scenario.js';
import { readOptions, usage } from './options.js';
import { tableOf } from './report.js';
import { simulateTokenExpiry } from './token-expiry.js';

const PASSED = 0;
const FAILED = 1;
const WRONG_USAGE = 2;
const NOT_PASSED = 99;

/** `npm run lab -- simulate …`; its help says the rest. @returns the exit code */
export async function simulate([scenario, ...args]: readonly string[]): Promise<number> {
  if (scenario === undefined || scenario === '--help' || scenario === '-h') {
    process.stdout.write(usage);
    return scenario === undefined ? WRONG_USAGE : PASSED;
  }
  try {
    if (scenario !== 'token-expiry') throw new UsageError(`there is no simulation ${scenario}; there is: token-expiry`);
    const options = readOptions(args, process.env);
    if (options === 'help') {
      process.stdout.write(usage);
      return PASSED;
    }
    const report = await simulateTokenExpiry(options);
    const json = `${JSON.stringify(report, undefined, 2)}\n`;
    if (options.output !== undefined) writeFileSync(options.output, json);
    process.stdout.write(options.jsonOnly ? json : `${tableOf(report)}\n${json}`);
    return report.passed ? PASSED : NOT_PASSED;
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`${error.message}\n\nnpm run lab -- simulate token-expiry --help lists what there is.\n`);
      return WRONG_USAGE;
    }
    const { message, cause } = error as Error;
    const trace = error instanceof SluiceError && error.traceId ? `, trace ${error.traceId}` : '';
    process.stderr.write(`The simulation could not run: ${message}${cause ? ` (${String(cause)})` : ''}${trace}\n`);
    return FAILED;
  }
}
