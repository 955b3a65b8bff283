import { decimal, integer, optionalText, port, secret, type Setting, type SettingsOf, text } from '@sluice/config';
import { databaseUrl, serviceSettings } from '@sluice/service';

const addresses: Setting<readonly string[]> = {
  describe: 'Where the allocator is; several replicas separated by commas.',
  expect: 'host:port, several separated by commas',
  fallback: '127.0.0.1:50052',
  secret: false,
  absent: 'required',
  parse(value) {
    const parts = value.split(',').map((part) => part.trim().replace(/^(grpc|http):\/\/|\/$/g, ''));
    const isAddress = (part: string) => Number(/^[^\s/]+:(\d{1,5})$/.exec(part)?.[1]) <= 65_535;
    return parts.every(isAddress) ? parts : undefined;
  },
};

const baseUrl: Setting<string | undefined> = {
  ...optionalText(
    'An endpoint that speaks the chat completions of OpenAI, for example http://localhost:11434/v1. Without it the built-in model answers.',
  ),
  expect: 'http://… or https://…',
  parse: (value) => (URL.canParse(value) && /^https?:/.test(value) ? value.replace(/\/+$/, '') : undefined),
};

/** The settings of the sample workload. */
export function postcardSettings(environment: NodeJS.ProcessEnv = process.env) {
  return {
    ...serviceSettings,
    POSTCARD_PORT: port('Port of the sample workload.', 50053),
    POSTCARD_ADMIN_PORT: port('Admin port of the sample workload.', 9053),
    POSTCARD_DATABASE_URL: databaseUrl('POSTCARD_DATABASE_URL', environment),
    ALLOCATOR_ADDRESS: addresses,
    ALLOCATOR_SECRET: secret(
      'With what postcard proves itself to the allocator: `sluice-gateway --secret-of allocator --held-by postcard` prints it. ' +
        'Without it, and without GATEWAY_SECRET, the allocator must listen on loopback.',
      16,
    ),
    POSTCARD_AGENTS_MAX: integer(
      'Sessions whose agent is kept in memory; the least recently used leaves first.',
      1000,
      {
        min: 1,
        max: 1_000_000,
      },
    ),
    POSTCARD_TURNS_REMEMBERED: integer(
      'Questions and answers that an agent remembers; each is sent along with the next message and paid for again.',
      4,
      { min: 0, max: 1000 },
    ),
    POSTCARD_SESSION_IDLE_SECONDS: integer('A session ends when no message is sent for this long.', 3600, {
      min: 1,
      max: 31_536_000,
    }),
    POSTCARD_CLEAN_UP_SECONDS: integer('How often sessions that have ended are deleted.', 300, { min: 1, max: 86_400 }),
    POSTCARD_LEASE_SECONDS: integer(
      'After this the tokens of a reply return by themselves, should the process die; no reply takes longer.',
      300,
      { min: 5, max: 86_400 },
    ),
    MODEL_BASE_URL: baseUrl,
    MODEL_API_KEY: secret('Bearer token for MODEL_BASE_URL.'),
    MODEL_NAME: text('The model that MODEL_BASE_URL is asked for.', 'gpt-4o-mini'),
    MODEL_REPLY_TOKENS: integer('Tokens of a reply at most; as many are reserved for it.', 64, {
      min: 1,
      max: 100_000,
    }),
    MODEL_STALL_SECONDS: decimal('How long MODEL_BASE_URL may take between two pieces of a reply.', 30, {
      min: 0.1,
      max: 600,
    }),
    MODEL_TOKENS_PER_SECOND: integer('Speed of the built-in model.', 200, { min: 1, max: 1_000_000 }),
    MODEL_SEED: integer('Seed of the built-in model: the same seed and message give the same reply.', 1, {
      min: 0,
      max: 4_294_967_295,
    }),
  };
}

export type PostcardSettings = SettingsOf<ReturnType<typeof postcardSettings>>;
