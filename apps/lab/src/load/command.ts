import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { compare, type Comparison, readBaseline } from '../report/baseline.js';
import { junitOf, markdownOf } from '../report/for-machines.js';
import { page } from '../report/page.js';
import { type Report, reportOf } from '../report/report.js';
import { Operator, type OperatorAccount } from '../operator.js';
import { loopbackAddress } from './address-pool.js';
import { LiveView } from './live.js';
import { residentBytes } from './monitor.js';
import { type LoadRequest, readFlags, usage } from './options.js';
import { type LoadPlan, planOf } from './plan.js';
import { machineHere, requirementsOf, requirementsText } from './requirements.js';
import { checkTenants, makeRunTenant } from './run-tenants.js';
import { runLoad } from './run.js';
import { readScenario, scenarioNames, UsageError } from './scenario.js';
import { RequestHead } from './request.js';
import { type Answer, Transport } from './transport.js';

const PASSED = 0;
const FAILED = 1;
const WRONG_USAGE = 2;
const MISSED = 99;
const INTERRUPTED = 130;

const SAME_SIGNAL_MS = 1_000;

/** `npm run lab -- load …`; its help says the rest. @returns the exit code */
export async function load(args: readonly string[]): Promise<number> {
  try {
    const flags = readFlags(args);
    if (flags.help) return say(usage);
    if (flags.list) return say(list());
    return await execute(flags.request());
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n\nnpm run lab -- load --help lists what there is.\n`);
    return WRONG_USAGE;
  }
}

async function execute(request: LoadRequest): Promise<number> {
  const plan = planOf(request.scenario, request.options);
  const { name } = request.scenario;
  const baseline = request.baseline === undefined ? undefined : readBaseline(request.baseline, name, plan.timeScale);
  const unreachable = await probe(plan.baseUrl, plan.addressMode);
  if (unreachable) {
    process.stderr.write(`${plan.baseUrl} does not answer: ${unreachable}\n`);
    return FAILED;
  }
  if (!(await meetsRequirements(request, plan))) return FAILED;
  const transport = new Transport(plan.baseUrl, plan.addressMode, plan.callTimeoutMs);
  const { signal, release } = interruption();
  try {
    return await inTenant(request, plan, transport, async (placed) => {
      await checkTenants(transport, placed);
      return run(request, placed, baseline, signal);
    });
  } finally {
    release();
    transport.close();
  }
}

/** Says what the run needs and what there is. @returns false when it cannot begin */
async function meetsRequirements(request: LoadRequest, plan: LoadPlan): Promise<boolean> {
  const operator = request.operator && (await signInOrTell(plan.baseUrl, request.operator));
  const requirements = requirementsOf(plan, machineHere(await operator?.tokensLeft()), request.here);
  const met = requirements.every((requirement) => requirement.met || !requirement.stops);
  (met ? process.stdout : process.stderr).write(requirementsText(requirements));
  return met;
}

async function signInOrTell(origin: string, account: OperatorAccount): Promise<Operator> {
  try {
    return await Operator.signIn(origin, account);
  } catch (error) {
    throw new UsageError(
      `${(error as Error).message}. A run has a tenant of its own, made by an administrator of the installation: ` +
        `name one by ADMIN_EMAIL and ADMIN_PASSWORD_FILE, or run it in tenants that are there: --tenants default`,
    );
  }
}

/** Runs `work` in a tenant that is made for it and removed after it, whatever comes of it; or where the scenario says. */
async function inTenant(
  { operator }: LoadRequest,
  plan: LoadPlan,
  transport: Transport,
  work: (plan: LoadPlan) => Promise<number>,
): Promise<number> {
  if (operator === undefined) {
    const names = plan.scenario.tenants.map((tenant) => tenant.name).join(', ');
    process.stdout.write(
      `Tenants: ${names}. What the run makes there stays: guests, accounts, and tokens that are used.\n`,
    );
    return work(plan);
  }
  const tenant = await makeRunTenant(plan.baseUrl, operator, transport, plan);
  process.stdout.write(`Tenant: ${tenant.id}, of this run alone.\n`);
  try {
    const tenants = plan.scenario.tenants.map((given) => ({ ...given, name: tenant.id }));
    return await work({ ...plan, scenario: { ...plan.scenario, tenants } });
  } finally {
    await tenant.remove().then(
      () => process.stdout.write(`The tenant ${tenant.id} is deleted, and its tokens are given back.\n`),
      (error: Error) =>
        process.stderr.write(
          `The tenant ${tenant.id} is still there: ${error.message}. Remove it as an operator: ` +
            `GET /api/v1/admin/tenants/${tenant.id}/export, then DELETE /api/v1/admin/tenants/${tenant.id}.\n`,
        ),
    );
  }
}

async function run(
  request: LoadRequest,
  plan: LoadPlan,
  baseline: Report | undefined,
  signal: AbortSignal,
): Promise<number> {
  const services = await answering(request.services);
  const view = new LiveView(plan, process.stdout);
  const result = await runLoad(plan, services, signal, (status) => view.show(status));

  const report = reportOf(result, { lab: labVersion() });
  const comparisons = baseline ? compare(report, baseline, request.tolerance) : [];
  const folder = writeReport(request.folder, report, comparisons);
  process.stdout.write(`\n${verdictText(report, comparisons)}\nReport: ${join(folder, 'report.html')}\n`);
  if (report.interrupted) return INTERRUPTED;
  return report.passed && comparisons.every(({ regressed }) => !regressed) ? PASSED : MISSED;
}

/**
 * Aborts when the process is told to end. Told again, it ends at once; but not within a second, since npm hands on the Ctrl-C that its
 * children hear themselves.
 */
function interruption(): { signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  let toldMs = 0;
  const told = () => {
    if (!controller.signal.aborted) {
      toldMs = performance.now();
      controller.abort();
    } else if (performance.now() - toldMs > SAME_SIGNAL_MS) {
      process.exit(INTERRUPTED);
    }
  };
  process.on('SIGINT', told).on('SIGTERM', told);
  return { signal: controller.signal, release: () => void process.off('SIGINT', told).off('SIGTERM', told) };
}

function list(): string {
  const rows = scenarioNames().map((name) => {
    const { sessions, minutes, addresses, thresholds, title } = readScenario(name);
    const expected = `success ≥ ${thresholds.success_min * 100} %, 429 ≤ ${thresholds.refused_max * 100} %`;
    return `${name.padEnd(16)} ${String(sessions).padStart(5)} sessions ${String(minutes).padStart(4)} min ${String(addresses).padStart(4)} addresses  ${expected.padEnd(28)} ${title}`;
  });
  return `${rows.join('\n')}\n`;
}

/** Why the target does not answer; undefined when it does. */
async function probe(baseUrl: string, mode: 'source' | 'forwarded'): Promise<string | undefined> {
  const transport = new Transport(baseUrl, mode, 5_000);
  const from = { index: 0, address: loopbackAddress(0), heldUntilMs: 0, refusalsInARow: 0 };
  const request = { head: new RequestHead('GET', '/api/v1/health'), keep: 'nothing' } as const;
  const answer = await new Promise<Answer>((resolve) => transport.send(from, request, '', resolve));
  transport.close();
  if (answer.fault === 'EADDRNOTAVAIL') {
    return `${from.address} is no address of this machine. Linux has all of 127.0.0.0/8; elsewhere add aliases to the loopback interface, or use --forwarded`;
  }
  return answer.fault;
}

async function answering(services: LoadRequest['services']): Promise<LoadRequest['services']> {
  const memory = await Promise.all(services.map(residentBytes));
  return services.filter((_, index) => memory[index] !== undefined);
}

function writeReport(folder: string | undefined, report: Report, comparisons: readonly Comparison[]): string {
  const time = report.started_at.replace(/[:.]/g, '-');
  const target = resolve(folder ?? join('reports', `${report.scenario.name}-${time}`));
  mkdirSync(target, { recursive: true });
  writeFileSync(join(target, 'report.json'), `${JSON.stringify({ ...report, comparisons }, undefined, 1)}\n`);
  writeFileSync(join(target, 'report.html'), page(report, comparisons));
  writeFileSync(join(target, 'report.md'), markdownOf(report, comparisons));
  writeFileSync(join(target, 'junit.xml'), junitOf(report, comparisons));
  return target;
}

function verdictText(report: Report, comparisons: readonly Comparison[]): string {
  const thresholds = report.thresholds.map(
    ({ name, limit, actual, passed }) => `${passed ? 'passed' : 'MISSED'}  ${name}: ${actual} (${limit})`,
  );
  const regressions = comparisons
    .filter(({ regressed }) => regressed)
    .map(({ name, before, now }) => `WORSE   ${name}: ${now}, was ${before}`);
  const advice = report.advice.map(({ text, figures }) => `- ${text} (${figures})`);
  const interrupted = report.interrupted ? ['The run was interrupted.'] : [];
  return [...interrupted, ...thresholds, ...regressions, ...advice].join('\n');
}

function labVersion(): string {
  const manifest = new URL('../../package.json', import.meta.url);
  return (JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }).version;
}

function say(text: string): number {
  process.stdout.write(text);
  return PASSED;
}
