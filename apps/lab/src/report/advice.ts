import { type Findings, megabytes, ms, percent, type ThresholdResult } from './thresholds.js';

/** A sentence of advice, and the figures that it rests on. */
export interface Advice {
  readonly text: string;
  readonly figures: string;
}

type Judged = Findings & { readonly thresholds: readonly ThresholdResult[] };
type Rule = (report: Judged) => Advice | undefined;

/** Corrected latency this many times the uncorrected one speaks of stalls rather than of slow calls. */
const STALL_FACTOR = 3;

const most = (counts: Readonly<Record<string, number>>): [string, number] | undefined =>
  Object.entries(counts).sort(([, a], [, b]) => b - a)[0];

const dimensionAdvice: Readonly<Record<string, string>> = {
  ip: 'The limit per address refuses most. Use more addresses (--ip-count), lower messages_per_minute_per_address, or raise the policy for ip. An earlier run from the same addresses counts as well, for as long as the window of the policy is.',
  user: 'The limit per user refuses most. Use more users (a smaller sessions_per_user), lower the rate, or raise the policy for user.',
  endpoint:
    'The limit per endpoint refuses most. Lower the rate, or raise the policy for the endpoint that is asked most.',
  tenant: 'The limit per tenant refuses most. Divide the users over more tenants, or raise the policy for tenant.',
  global: 'The limit for everybody refuses most: the gateway is asked for more than it is set to serve.',
  budget:
    'Tokens have run out on the nodes: what a message has used stays used, from one run to the next. Start the system with a larger ' +
    'budget per node, for example NODE_BUDGET=10000000 npm start, or raise a node as an administrator: PATCH /api/v1/nodes/NODE with {"capacity":"10000000"}.',
};

/** Every rule, in the order in which advice is printed: what puts the other figures in doubt comes first. */
const rules: readonly Rule[] = [
  ({ generator }) =>
    generator.clouded.length === 0
      ? undefined
      : {
          text: 'The generator was busy itself, so the latencies are partly its own. Run it on another machine or core, or lower the rate.',
          figures: generator.clouded.join('; '),
        },
  ({ refused_by, calls }) => {
    const [dimension, count] = most(refused_by) ?? ['', 0];
    if (count === 0) return undefined;
    return {
      text: dimensionAdvice[dimension] ?? `Most refusals name ${dimension}.`,
      figures: `${count} of ${calls.refused} refusals are by ${dimension}; ${percent(calls.refused_share)} of the calls were refused`,
    };
  },
  ({ configuration, refused_by }) =>
    configuration.address_mode !== 'forwarded' || (refused_by['ip'] ?? 0) === 0
      ? undefined
      : {
          text: 'The addresses were said in X-Forwarded-For: a gateway that does not trust this machine (trusted_proxies in its configuration) takes them all for one.',
          figures: `${refused_by['ip']} refusals by ip, ${configuration.client_addresses} addresses`,
        },
  ({ configuration, scenario, calls, refused_by }) => {
    const { time_scale, calls_per_address_per_real_minute: asked, client_addresses } = configuration;
    const scaled = asked <= scenario.messages_per_minute_per_address * 1.01;
    // A budget knows no minutes, and an address that asks no more than unscaled is not refused for the scale.
    const unscaled = (refused_by['budget'] ?? 0) + (scaled ? (refused_by['ip'] ?? 0) : 0);
    if (time_scale === 1 || calls.refused === unscaled) return undefined;
    return {
      text: scaled
        ? 'The run was scaled and the limits of the server are per real minute: those per user, tenant or for all were asked for more than unscaled. Raise them by the scale for the test.'
        : 'The run was scaled and the limits of the server are per real minute: use --scale-addresses, so that each address asks no more than it would unscaled, or raise the limits by the scale for the test.',
      figures: `time scale ${time_scale}; ${Math.round(asked)} calls a real minute from each of ${client_addresses} addresses`,
    };
  },
  ({ failures, failure_details, calls }) => {
    const [cause, count] = most(failures) ?? ['', 0];
    if (count === 0) return undefined;
    const said = failure_details[cause];
    return {
      text: 'Calls failed for other reasons than limits: look for the most frequent cause in the logs of the gateway and of the service behind it, by trace id.',
      figures: `${calls.failed} failed; most often ${cause} (${count})${said === undefined ? '' : `, at first: ${said}`}`,
    };
  },
  ({ latency: { corrected, uncorrected } }) =>
    corrected.p99 < 100 || corrected.p99 < uncorrected.p99 * STALL_FACTOR
      ? undefined
      : {
          text: 'The server stalled: calls waited before they could be sent. Look for pauses (garbage collection, locks, a full pool) rather than for slow calls.',
          figures: `99th percentile ${ms(corrected.p99)} from the planned moment, ${ms(uncorrected.p99)} from the moment of sending`,
        },
  ({ thresholds, kinds }) => {
    if (thresholds.every(({ name, passed }) => passed || !name.startsWith('latency'))) return undefined;
    const slowest = [...kinds].sort((a, b) => b.corrected.p95 - a.corrected.p95)[0];
    if (!slowest) return undefined;
    return {
      text: `Latency is above its threshold, and ${slowest.kind} calls are the slowest: profile what serves them.`,
      figures: `${slowest.kind}: 95th percentile ${ms(slowest.corrected.p95)}, 99th ${ms(slowest.corrected.p99)}`,
    };
  },
  ({ unsent, calls }) => {
    const [reason, count] = most(unsent) ?? ['', 0];
    if (count < calls.planned * 0.01 || count === 0) return undefined;
    return {
      text: 'Calls that were planned could not be sent; a real crowd would have asked, so read the other figures with that in mind.',
      figures: `${calls.planned - calls.sent} of ${calls.planned} unsent; most often: ${reason} (${count})`,
    };
  },
  ({ sessions, scenario, interrupted }) =>
    interrupted || sessions.created >= sessions.wanted
      ? undefined
      : {
          text: 'Not every session was created before the clean-up. Limits on guests and sessions are per address: use more addresses, more sessions_per_user, or a longer run.',
          figures: `${sessions.created} of ${sessions.wanted} sessions from ${scenario.addresses} addresses`,
        },
  ({ multiplier, scenario, calls, thresholds }) =>
    multiplier.last < scenario.multiplier.max || calls.refused_share >= 0.01 || thresholds.some(({ passed }) => !passed)
      ? undefined
      : {
          text: 'The rate reached its upper bound and hardly anything was refused: there is room. Raise multiplier.max to find the limit.',
          figures: `multiplier ${multiplier.last.toFixed(2)}, ${percent(calls.refused_share)} refused`,
        },
  ({ multiplier, scenario }) =>
    multiplier.last > scenario.multiplier.min
      ? undefined
      : {
          text: 'The rate fell to its lower bound and calls were still refused: the limits allow far less than the scenario asks.',
          figures: `multiplier ${multiplier.last.toFixed(2)}`,
        },
  ({ memory }) => {
    const growing = memory.filter(({ leak }) => leak.verdict === 'grows');
    if (growing.length === 0) return undefined;
    return {
      text: 'Memory grows with certainty after the warm-up: take two heap snapshots of the service, an hour apart, and compare.',
      figures: growing
        .map(
          ({ service, leak }) =>
            `${service}: ${megabytes(leak.bytesPerHour)} an hour, at least ${megabytes(leak.bytesPerHourLow)}`,
        )
        .join('; '),
    };
  },
];

export function advise(report: Judged): Advice[] {
  return rules.flatMap((rule) => rule(report) ?? []);
}
