import pg from 'pg';

/** One address of a Postgres. */
export interface Host {
  readonly host: string;
  readonly port: number;
}

/** `DATABASE_URL` with one host or several (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS). */
export interface DatabaseAddress {
  /** The address with the first host alone, as drivers take it. */
  readonly url: string;
  readonly hosts: readonly Host[];
  /** Which of them will do: any, or the one that takes changes. */
  readonly wanted: 'any' | 'read-write';
}

const SHAPE = /^(postgres(?:ql)?:\/\/(?:[^@/?]*@)?)([^/?]+)(\/[^?]*)?(?:\?(.*))?$/;
const HOST = /^(\[[0-9a-fA-F:.]+\]|[^:[\]@]+)(?::(\d{1,5}))?$/;
const ATTRS = 'target_session_attrs';
const USUAL_PORT = 5432;

/** Undefined: not an address of Postgres. Several hosts without `target_session_attrs` mean the one that takes changes. */
export function parseAddress(text: string): DatabaseAddress | undefined {
  const [, start, authority, path = '', query = ''] = SHAPE.exec(text) ?? [];
  if (start === undefined || authority === undefined) return undefined;
  const hosts: Host[] = [];
  for (const part of authority.split(',')) {
    const [, host, port = String(USUAL_PORT)] = HOST.exec(part) ?? [];
    if (host === undefined || Number(port) < 1 || Number(port) > 65_535) return undefined;
    hosts.push({ host: host.replace(/^\[|\]$/g, ''), port: Number(port) });
  }
  const parameters = new URLSearchParams(query);
  const asked = parameters.get(ATTRS) ?? (hosts.length > 1 ? 'read-write' : 'any');
  if (!['any', 'read-write', 'primary'].includes(asked)) return undefined;
  parameters.delete(ATTRS);
  const rest = parameters.size > 0 ? `?${parameters.toString()}` : '';
  return {
    url: `${start}${authority.split(',')[0]}${path}${rest}`,
    hosts,
    wanted: asked === 'any' ? 'any' : 'read-write',
  };
}

type Connected = ((error: Error) => void) | ((error: null, client: pg.Client) => void);

/**
 * The driver's client for an address. With several hosts, each new connection is to the first that answers and will do, beginning with
 * the one that did last.
 */
export function clientClass({ hosts, wanted }: DatabaseAddress): typeof pg.Client {
  if (hosts.length === 1 && wanted === 'any') return pg.Client;
  let first = 0;
  return class extends pg.Client {
    private readonly config: pg.ClientConfig;

    constructor(config?: string | pg.ClientConfig) {
      super(config);
      this.config = typeof config === 'string' ? { connectionString: config } : { ...config };
    }

    override connect(): Promise<pg.Client>;
    override connect(callback: Connected): void;
    override connect(callback?: Connected): Promise<pg.Client> | void {
      const connected = this.choose().then(async (host) => {
        Object.assign(this, host);
        await super.connect();
        return this;
      });
      if (callback === undefined) return connected;
      connected.then(() => (callback as () => void)(), callback as (error: Error) => void);
      return undefined;
    }

    /** Asks one host after another, over a connection that is closed again. */
    private async choose(): Promise<Host> {
      let failure: unknown;
      for (let tried = 0; tried < hosts.length; tried++) {
        const index = (first + tried) % hosts.length;
        const host = hosts[index] as Host;
        try {
          await ask({ ...this.config, ...host }, wanted);
          first = index;
          return host;
        } catch (error) {
          failure ??= error;
        }
      }
      throw failure;
    }
  };
}

/** @throws the driver's error, or one with the SQLSTATE of a read-only transaction */
async function ask(config: pg.ClientConfig, wanted: DatabaseAddress['wanted']): Promise<void> {
  const { connectionString, ...rest } = config;
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  const own: pg.ClientConfig = { ...(connectionString !== undefined && fromUrl(connectionString)), ...given };
  const client = new pg.Client({
    ...own,
    connectionTimeoutMillis: Math.min(own.connectionTimeoutMillis || 2000, 2000),
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    if (wanted === 'read-write') await requireWritable(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** @throws Error with the SQLSTATE `read_only_sql_transaction` */
export async function requireWritable(client: Pick<pg.Client, 'query'>): Promise<void> {
  const { rows } = await client.query<{ read_only: boolean }>(
    `select pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' as read_only`,
  );
  if (rows[0]?.read_only)
    throw Object.assign(new Error('the database takes no changes: it is read-only'), { code: '25006' });
}

function fromUrl(text: string): pg.ClientConfig {
  const url = new URL(text);
  return {
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: decodeURIComponent(url.pathname.slice(1)) || undefined,
  };
}
