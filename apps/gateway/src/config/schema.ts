import { algorithms, apiKeyEnvironments } from '@sluice/identity';
import { z } from 'zod';
import { hostFault } from '../preflight/hosts.js';
import { TENANT, TENANT_EXPECTED } from '../tenant/said-tenant.js';
import { gatewaysOwn } from '../upstream/answer-fields.js';

/**
 * The shape of config/gateway.yaml. `gateway.schema.json` beside the file is printed from here.
 * Durations are text with a unit (`250ms`, `10s`, `5m`, `1h`); sizes are numbers of bytes or text (`64KiB`, `4MiB`).
 */

const durationUnits = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;
const sizeUnits = { '': 1, B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

function milliseconds(text: string): number {
  const [, amount, unit] = /^(\d+)(\D+)$/.exec(text) as unknown as [string, string, keyof typeof durationUnits];
  return Number(amount) * durationUnits[unit];
}

/** Milliseconds. */
const duration = z
  .string()
  .regex(/^\d+(ms|s|m|h)$/, 'expected a duration such as 250ms, 10s, 5m or 1h')
  .transform(milliseconds);

/** Milliseconds in which something is counted. */
const period = z
  .string()
  .regex(/^0*[1-9]\d*(ms|s|m|h)$/, 'expected a duration above zero, such as 250ms, 10s, 5m or 1h')
  .transform(milliseconds);

/** The longest that a timer of Node can wait; a longer one ends at once. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Milliseconds of what would fail at once if there were none. */
const timeLimit = period.refine((value) => value <= TIMER_MS_MAX, 'expected a duration of at most 596h');

/** As {@link timeLimit}; Infinity: none. */
const timeLimitOrNone = z
  .string()
  .regex(/^(none|0*[1-9]\d*(ms|s|m|h))$/, 'expected a duration above zero, such as 250ms, 10s, 5m or 1h, or none')
  .transform((value) => (value === 'none' ? Infinity : milliseconds(value)))
  .refine((value) => value <= TIMER_MS_MAX || value === Infinity, 'expected a duration of at most 596h, or none');

/** Bytes. */
const size = z
  .union([z.number().int().nonnegative(), z.string().regex(/^\d+(B|KiB|MiB|GiB)?$/, 'expected a size such as 64KiB')])
  .transform((value) => {
    if (typeof value === 'number') return value;
    const [, amount, unit] = /^(\d+)(\D*)$/.exec(value) as unknown as [string, string, keyof typeof sizeUnits];
    return Number(amount) * sizeUnits[unit];
  });

/** Defaults that checks tell from what somebody has written. */
export const usual = {
  connections: 16,
  stream_timeout: 3_600_000,
  streams: { max_per_caller: 32, max_per_address: 256 },
} as const;

export const serviceName = /^[a-z][a-z0-9-]{0,62}$/;
const name = z.string().regex(serviceName, 'expected lower-case letters, digits and dashes');
/** What YAML 1.1 and people write for true and false, which here would be the name of a service. */
const looksBoolean = /^(true|false|yes|no|on|off)$/;
const trustExpected = 'expected true, false or the name of a service';
/** A host, or all below one. */
const hostPattern = z.string().superRefine((value, context) => {
  const fault = hostFault(value);
  if (fault === undefined) return;
  const meant = fault.meant === undefined ? '' : `; did you mean ${JSON.stringify(fault.meant)}?`;
  context.addIssue({ code: 'custom', message: `expected ${fault.expected}${meant}` });
});
const hostPatterns = z.array(hostPattern).min(1);
const fieldName = z
  .string()
  .regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/, 'expected a header field name')
  .transform((value) => value.toLowerCase());

const httpRule = z.strictObject({
  selector: z.string(),
  none: z.literal(true).optional().describe('takes the annotation of the method away'),
  get: z.string().optional(),
  put: z.string().optional(),
  post: z.string().optional(),
  delete: z.string().optional(),
  patch: z.string().optional(),
  custom: z.strictObject({ kind: z.string(), path: z.string() }).optional(),
  body: z.string().optional(),
  response_body: z.string().optional(),
  get additional_bindings() {
    return z.array(httpRule.omit({ selector: true, none: true })).optional();
  },
});

const accessRule = z
  .strictObject({
    selector: z.string().describe('`package.Service.Method`, `package.Service.*`, `package.*` or `*`'),
    public: z.boolean().default(false),
    roles: z.array(z.string().min(1)).default([]),
    no_guests: z.boolean().default(false),
    ended_sessions: z.boolean().default(false).describe('a token whose session has ended still counts'),
    verified_email: z.boolean().default(false).describe('not for tokens with `email_verified: false`'),
    no_keys: z.boolean().default(false).describe('not for callers that come with an API key'),
  })
  .refine(
    (rule) =>
      !rule.public ||
      (rule.roles.length === 0 && !rule.no_guests && !rule.ended_sessions && !rule.verified_email && !rule.no_keys),
    {
      message:
        'a public method looks at no token: expected public alone, or roles, no_guests, ended_sessions, verified_email or no_keys',
    },
  );

const upstreamTls = z.strictObject({
  ca: z.string().optional().describe('PEM file; the system store when absent'),
  cert: z.string().optional().describe('PEM file of a client certificate'),
  key: z.string().optional(),
  servername: z.string().optional(),
});

const upstream = z.strictObject({
  name,
  address: z.string().min(1).describe('`host:port`; several separated by commas'),
  descriptor_set: z.string().describe('FileDescriptorSet with imports, relative to this file'),
  services: z.array(z.string()).optional().describe('full names; all services of the set when absent'),
  hosts: hostPatterns
    .optional()
    .describe('for calls to these hosts alone; where another upstream serves the same, the more specific one does'),
  path_prefix: z
    .string()
    .regex(/^(\/[^/{}*?#]+)*$/, 'expected a path such as /billing, without a slash at its end')
    .default(''),
  unannotated: z.enum(['none', 'post']).default('none').describe('`post`: POST /package.Service/Method'),
  unusable_rules: z
    .enum(['refuse', 'skip'])
    .default('refuse')
    .describe('`skip`: HTTP rules that cannot be used are left out and logged'),
  timeout: timeLimit.default(10_000),
  stream_timeout: timeLimitOrNone.default(usual.stream_timeout),
  timeouts: z.record(z.string(), timeLimitOrNone).default({}).describe('by selector'),
  tls: z.union([z.boolean(), upstreamTls]).default(false),
  trusted: z
    .union([z.boolean(), name.refine((text) => !looksBoolean.test(text), trustExpected)], trustExpected)
    .default(false)
    .describe(
      'receives the secret of the service with the identity of the caller; a name: that service, where the upstream has another',
    ),
  forward_authorization: z
    .boolean()
    .optional()
    .describe('`Authorization` goes on as it came, of any scheme; default: only when `auth.mode` is `none`'),
  request_headers: z.array(fieldName).default([]).describe('passed on as metadata, besides `grpc-metadata-*`'),
  response_headers: z
    .array(
      fieldName.refine((field) => !gatewaysOwn.has(field), 'expected a field that does not frame or type the answer'),
    )
    .default([])
    .describe('metadata that become response headers'),
  errors: z
    .strictObject({
      expose: z
        .enum(['codes', 'text', 'all'])
        .optional()
        .describe('of UNKNOWN, INTERNAL, UNAVAILABLE and DATA_LOSS; default: `codes` over REST, `all` over gRPC'),
    })
    .prefault({}),
  ignore_unknown_query: z.boolean().default(false),
  system_parameters: z
    .array(z.string().regex(/^[^*=&]+\*?$/, 'expected a name such as alt, or a beginning such as $*'))
    .default([])
    .describe(
      'query parameters that are for nobody here: left out unless they name a field; `$*` is all that begin so',
    ),
  ignore_unknown_members: z
    .boolean()
    .default(false)
    .describe('leave out members of JSON bodies, and names of enum values, that the schema does not have'),
  json: z
    .strictObject({
      print_defaults: z.boolean().default(true),
      enum_numbers: z.boolean().default(false),
      proto_names: z.boolean().default(false),
    })
    .prefault({}),
  http: z.strictObject({ rules: z.array(httpRule).default([]) }).prefault({}),
  access: z.array(accessRule).default([]),
  oauth: z
    .array(z.string())
    .default([])
    .describe(
      'selectors of methods that behave as RFC 6749 says: refusals (section 5.2), unknown parameters (section 3.2)',
    ),
  max_message: size.default(4 * 1024 ** 2).describe('of an answer; over gRPC also what a client may announce'),
  max_body: z
    .record(z.string(), size)
    .default({})
    .describe('bodies of requests, by selector; `sizes.body` for the others'),
  connections: z
    .number()
    .int()
    .min(1)
    .max(64)
    .default(usual.connections)
    .describe('to each address at most; as many as are needed'),
  concurrency: z
    .enum(['adaptive', 'fixed'])
    .default('adaptive')
    .describe('`adaptive`: as many calls in flight as keep the service busy, and at most `max_concurrent`'),
  max_concurrent: z.number().int().min(1).default(1000).describe('calls in flight at once, at most'),
  max_wait: duration
    .optional()
    .describe(
      'a call waits so long for others to end, while the queue is young; three quarters of the callers’ patience',
    ),
  streams: z
    .strictObject({
      max: z.number().int().min(1).default(1000).describe('open at once; they take no place of `max_concurrent`'),
      max_per_caller: z.number().int().min(1).default(usual.streams.max_per_caller),
      max_per_address: z.number().int().min(1).default(usual.streams.max_per_address),
      idle: timeLimitOrNone.default(900_000).describe('a stream in which nothing was said for so long is ended'),
      envelope: z
        .enum(['none', 'result'])
        .default('none')
        .describe('`result`: each message as {"result": …}, an error as {"error": …}, as grpc-gateway does'),
      headers_after: timeLimitOrNone
        .default(1000)
        .describe('the header fields of an answer go out then, if the service has said nothing before'),
      heartbeat: timeLimitOrNone
        .default(15_000)
        .describe('after so long a silence a comment or an empty line is sent; `none`: nothing'),
    })
    .prefault({}),
  max_queued: z.number().int().min(0).default(10_000).describe('calls that wait for one in flight to end'),
});

const HALF_A_YEAR_MS = 180 * 86_400_000;
const YEAR_MS = 365 * 86_400_000;

const listenerTls = z
  .strictObject({
    certificates: z
      .array(z.strictObject({ cert: z.string().describe('PEM file'), key: z.string().describe('PEM file') }))
      .default([])
      .describe('besides GATEWAY_TLS_CERT_FILE; chosen by the host that a client names'),
    client_ca: z.string().optional().describe("PEM file: whom clients' certificates must come from"),
    client_certificates: z.enum(['required', 'optional']).optional().describe('required, when there is a client_ca'),
    hsts: z
      .union([
        z.literal(false),
        z
          .strictObject({
            max_age: duration.default(HALF_A_YEAR_MS),
            include_subdomains: z.boolean().default(false),
            preload: z.boolean().default(false),
          })
          .refine(
            ({ preload, include_subdomains, max_age }) => !preload || (include_subdomains && max_age >= YEAR_MS),
            {
              message: 'preload needs include_subdomains and a max_age of a year, 8760h',
            },
          ),
      ])
      .prefault({})
      .describe('Strict-Transport-Security of answers over TLS'),
  })
  .refine(({ client_ca, client_certificates }) => client_ca !== undefined || client_certificates === undefined, {
    message: 'client_certificates has no effect without client_ca',
  });

/** How long the user service remembers what ended. */
const API_KEY_AGE_MS_MAX = 86_400_000;

const keySource = z.union([
  z.strictObject({ jwks_url: z.url({ protocol: /^https?$/ }) }),
  z.strictObject({ upstream: name.describe('an upstream that serves sluice.user.v1.KeyService') }),
]);

const auth = z.discriminatedUnion('mode', [
  z.strictObject({ mode: z.literal('none') }),
  z.strictObject({
    mode: z.literal('jwt'),
    issuer: z.string().min(1).optional().describe('`iss` that tokens must have'),
    audience: z.string().min(1).optional().describe('`aud` that tokens must have; `any` when none is asked for'),
    keys: keySource.optional().describe('where the metadata of `issuer` say, when absent'),
    algorithms: z.array(z.enum(algorithms)).min(1).default(['ES256']),
    typ: z
      .string()
      .min(1)
      .optional()
      .describe('`typ` that tokens must have, for example at+jwt; `any` when none is asked for'),
    claims: z
      .strictObject({
        tenant: z.string(),
        session: z.string(),
        roles: z.string(),
        scope: z.string(),
        guest: z.string(),
        email_verified: z.string(),
      })
      .partial()
      .optional()
      .describe('which claims say what; a path such as realm_access.roles reaches inside one'),
    default_tenant: z.string().default('').describe('the tenant of tokens that name none'),
    clock_tolerance: duration.default(5000),
    cache_size: z.number().int().min(1).max(10_000_000).default(100_000),
    stream_expiry: z
      .enum(['end', 'session', 'ignore'])
      .default('end')
      .describe('an open stream ends with its token, or with the last token that its session has shown, or does not'),
    revocations: z
      .strictObject({
        upstream: name,
        when_lost: z.enum(['serve', 'introspect']).default('serve'),
      })
      .optional(),
    api_keys: z
      .strictObject({
        upstream: name.describe('an upstream that serves sluice.machines.v1.ApiKeyVerificationService'),
        max_age: period
          .refine((value) => value <= API_KEY_AGE_MS_MAX, 'expected a duration of at most 24h')
          .default(300_000)
          .describe('how long a verdict on a key serves, also while the upstream is away'),
        environments: z
          .array(z.enum(apiKeyEnvironments))
          .min(1)
          .default([...apiKeyEnvironments])
          .describe('which keys are taken: slc_live_…, slc_test_…'),
      })
      .optional()
      .describe('keys as `Authorization: Bearer slc_…` and as `x-api-key`'),
  }),
]);

/** What clients in browsers send: ours, those of gRPC-Web (connect-web, grpc-web) and of Connect, and tracing. */
const corsRequestHeaders = [
  ...['authorization', 'content-type', 'idempotency-key', 'if-match', 'if-none-match', 'last-event-id'],
  'x-tenant-id',
  ...['x-api-key', 'x-request-id', 'x-request-timeout', 'traceparent', 'tracestate', 'baggage'],
  ...['x-grpc-web', 'x-user-agent', 'grpc-timeout', 'grpc-encoding', 'grpc-accept-encoding'],
  ...['connect-protocol-version', 'connect-timeout-ms', 'connect-content-encoding', 'connect-accept-encoding'],
];

/** What they read of answers. */
const corsResponseHeaders = [
  ...['retry-after', 'ratelimit', 'ratelimit-policy', 'x-ratelimit-limit', 'x-ratelimit-remaining'],
  ...['x-ratelimit-reset', 'x-request-id', 'www-authenticate', 'location', 'etag', 'link', 'content-disposition'],
  ...['grpc-status', 'grpc-message', 'grpc-status-details-bin', 'grpc-encoding'],
  ...['connect-content-encoding', 'connect-accept-encoding'],
];

const cors = z
  .strictObject({
    origins: z.array(z.string()).min(1).describe('exact origins, or `*`'),
    methods: z.array(z.string()).default(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']),
    request_headers: z.array(fieldName).default([...corsRequestHeaders]),
    response_headers: z.array(fieldName).default([...corsResponseHeaders]),
    credentials: z.boolean().default(false),
    max_age: duration.default(600_000),
  })
  .refine(({ credentials, origins }) => !credentials || !origins.includes('*'), {
    message: 'credentials are for origins that are named; any page could act for a user otherwise',
  });

const tenantName = z.string().regex(TENANT, `expected ${TENANT_EXPECTED}`);

const tenants = z.strictObject({
  header: z
    .union([z.literal('none'), fieldName])
    .default('x-tenant-id')
    .describe('names the tenant of a call that is not signed in; `none`: no field does'),
  hosts: z.record(z.string(), tenantName).default({}).describe('the tenant of calls to a host, which has no port'),
  default: z
    .union([z.literal(''), tenantName])
    .default('default')
    .describe('the tenant of calls that name none'),
  tiers: z
    .record(name, z.array(tenantName).min(1))
    .default({})
    .describe('tenants by tier, such as vip: [acme], for metrics and alerts; every other one is of tier standard'),
  busiest: z
    .number()
    .int()
    .min(0)
    .max(1000)
    .default(20)
    .describe('tenants with metrics of their own, besides those of tier vip'),
});

/** What {@link https://en.wikipedia.org/wiki/ISO_8601 ISO 8601} calls a calendar date. */
const day = z
  .string()
  .refine(
    (text) => /^\d{4}-\d{2}-\d{2}$/.test(text) && new Date(`${text}T00:00Z`).toJSON()?.startsWith(text) === true,
    'expected a day such as 2027-06-30',
  );

const limitPolicy = z
  .strictObject({
    name,
    match: z
      .strictObject({
        paths: z.array(z.string()).optional().describe('path patterns; `*` one segment, `**` any'),
        except_paths: z.array(z.string()).optional().describe('path patterns that the policy leaves out'),
        methods: z.array(z.string()).optional().describe('HTTP methods'),
        rpcs: z.array(z.string()).optional().describe('selectors: methods by whatever path and protocol'),
        except_rpcs: z.array(z.string()).optional().describe('selectors of methods that the policy leaves out'),
        hosts: hostPatterns.optional().describe('hosts that were asked for'),
        callers: z.array(z.enum(['anonymous', 'guest', 'user'])).optional(),
      })
      .prefault({}),
    dimensions: z.array(z.enum(['user', 'key', 'ip', 'endpoint', 'tenant', 'global'])).min(1),
    algorithm: z.enum(['token_bucket', 'sliding_window']).default('token_bucket'),
    limit: z.number().int().min(1),
    window: period,
    burst: z.number().int().min(1).optional(),
    cost: z.number().int().min(1).default(1),
    shadow: z.boolean().default(false),
    on_store_loss: z.enum(['local', 'open', 'closed']).default('local'),
    owner: z.string().min(1).max(100).optional().describe('who is asked about it'),
    expires: day
      .optional()
      .describe('the last day that it is meant for; it stays in force, and `policies check` objects'),
  })
  .refine((policy) => policy.algorithm === 'token_bucket' || policy.burst === undefined, {
    message: 'burst belongs to token_bucket; a sliding window admits its limit',
  });

export const gatewayConfigSchema = z.strictObject({
  upstreams: z.array(upstream).min(1),
  auth: auth.default({ mode: 'none' }),
  limits: z
    .strictObject({
      policies: z.array(limitPolicy).default([]),
      guess_guard: z
        .strictObject({ limit: z.number().int().min(1), window: period })
        .optional()
        .describe('made-up tokens that one address may present in a window; expired ones do not count'),
      review: z
        .strictObject({
          require: z
            .array(z.enum(['owner', 'expires']))
            .default([])
            .describe('of every policy'),
          unlimited: z
            .array(z.strictObject({ rpcs: z.array(z.string()).min(1), reason: z.string().min(1) }))
            .default([])
            .describe('methods that anyone may call and that need no limit here, and why'),
        })
        .prefault({})
        .describe('what `npm run policies -- check` goes by'),
      max_keys: z.number().int().min(100).default(200_000),
      legacy_headers: z.boolean().default(false),
    })
    .prefault({}),
  tenants: tenants.prefault({}).describe('of calls that are not signed in, and tiers for metrics of all'),
  cors: cors.optional(),
  hosts: hostPatterns
    .optional()
    .describe('served hosts, such as api.example.com and *.example.com: 421 for every other; default: every host'),
  tls: listenerTls.prefault({}).describe('of the port for TLS'),
  trusted_proxies: z.array(z.string()).default([]).describe('addresses or CIDR blocks whose forwarding headers count'),
  proxy_protocol: z
    .array(z.string())
    .default([])
    .describe(
      'addresses or CIDR blocks whose connections all begin with a header of the PROXY protocol, version 1 or 2',
    ),
  timeouts: z
    .strictObject({
      headers: timeLimit.default(10_000),
      request: timeLimit.default(60_000),
      idle: timeLimit.default(75_000),
      send: timeLimit.default(30_000).describe('a client that takes nothing of its answer for so long is cut off'),
      memory: duration.default(5_000).describe('how long a large body or answer waits for room in memory: 503'),
      settings: timeLimit.default(5_000),
      max: timeLimit.default(300_000).describe('the longest deadline that a client can ask for'),
    })
    .prefault({}),
  sizes: z
    .strictObject({
      header_list: size.default(32 * 1024),
      header_count: z.number().int().min(1).default(128),
      body: size.default(10 * 1024 ** 2),
      compress_above: size.default(1024),
      min_send_rate: size
        .default(1024)
        .describe('a second, over `timeouts.send`: a client that takes less of what waits for it is cut off'),
    })
    .prefault({}),
  memory: z
    .strictObject({
      total: size
        .optional()
        .describe('held for all clients: bodies and answers; a quarter of the memory, 512MiB at most'),
      per_address: size.optional().describe('a quarter of the total'),
      per_connection: size.optional().describe('a sixteenth of the total'),
    })
    .prefault({}),
  http2: z
    .strictObject({
      max_streams: z.number().int().min(1).default(128).describe('concurrent streams of a connection'),
      max_resets: z.number().int().min(1).default(200).describe('streams that a client may reset in a period'),
      max_pings: z.number().int().min(1).default(120).describe('in a period'),
      max_settings: z.number().int().min(1).default(60).describe('in a period'),
      period: timeLimit.default(10_000),
    })
    .prefault({}),
  grpc: z
    .strictObject({
      reflection: z
        .boolean()
        .default(true)
        .describe('which services there are, and what declares them: `grpcurl … list`'),
      health: z.boolean().default(true).describe('grpc.health.v1, of the gateway and of each service behind it'),
    })
    .prefault({}),
  errors: z.strictObject({ format: z.enum(['problem', 'status']).default('problem') }).prefault({}),
});

export type GatewayConfig = z.output<typeof gatewayConfigSchema>;
export type UpstreamConfig = GatewayConfig['upstreams'][number];
export type AuthConfig = GatewayConfig['auth'];
export type HstsConfig = GatewayConfig['tls']['hsts'];
export type CorsConfig = NonNullable<GatewayConfig['cors']>;
export type LimitPolicyConfig = GatewayConfig['limits']['policies'][number];
export type AccessRuleConfig = UpstreamConfig['access'][number];

/** JSON Schema of the file (draft 2020-12), for editors. */
export function gatewayJsonSchema(): object {
  return z.toJSONSchema(gatewayConfigSchema, { io: 'input' });
}
