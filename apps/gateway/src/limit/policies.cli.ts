import { parseArgs } from 'node:util';
import { ConfigurationError } from '@sluice/config';
import { checkPolicies, type PolicyReport } from './check-policies.js';
import { type Accountable, accountable } from './review.js';

const usage = `Goes through the limits of a configuration, for whoever changes it and for CI; nothing needs to run.

  npm run policies -- check [FILE] [--require owner,expires] [--json]

Refuses: a method that anyone may call and no policy limits (unless limits.review.unlimited gives a reason), a policy that can
never refuse, a policy that has expired, and policies without an owner or a day of expiry where these are asked for, here or by
limits.review.require. FILE: GATEWAY_CONFIG, else config/gateway.yaml.

Exit codes: 0 nothing was found (warnings aside), 1 something was, 64 wrong arguments, 78 the configuration cannot work.`;

/** EX_USAGE and EX_CONFIG of sysexits.h. */
const USAGE = 64;
const CONFIG = 78;

function read() {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: {
        require: { type: 'string', multiple: true },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    });
    const [command, file, ...more] = positionals;
    if (values.help) return { ...values, file, require: [] };
    if (command !== 'check' || more.length > 0) throw new Error('expected: check, and one file at most');
    const require = (values.require ?? []).flatMap((list) => list.split(',')).map((word) => word.trim());
    const strange = require.find((word) => !accountable.some((known) => known === word));
    if (strange !== undefined) throw new Error(`--require ${strange}: expected ${accountable.join(' or ')}`);
    return { ...values, file, require: require as Accountable[] };
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${usage}`);
    return process.exit(USAGE);
  }
}

function print({ file, policies, publicMethods, findings, ok }: PolicyReport): void {
  for (const { severity, rule, text } of findings) console.log(`${severity} (${rule}): ${text}`);
  const count = (severity: string) => findings.filter((finding) => finding.severity === severity).length;
  const found = ok ? 'nothing to object to' : `${count('error')} to mend`;
  const warned = count('warning') > 0 ? `, ${count('warning')} to look at` : '';
  console.log(`${file}: policies: ${policies}, public methods: ${publicMethods}; ${found}${warned}`);
}

const { help, json, file, require } = read();
if (help) console.log(usage);
else {
  const name = file ?? process.env['GATEWAY_CONFIG'] ?? 'config/gateway.yaml';
  try {
    const report = checkPolicies(name, { require, now: Date.now() });
    if (json) console.log(JSON.stringify(report, null, 2));
    else print(report);
    process.exitCode = report.ok ? 0 : 1;
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    if (json) console.log(JSON.stringify({ file: name, ok: false, faults: error.faults }, null, 2));
    else console.error(`The configuration is wrong:\n${error.message}`);
    process.exitCode = CONFIG;
  }
}
