import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { integer, misspeltSettings, namedByConfiguration, readSettings, unreadSettings } from './index.js';

describe('variables that look like settings and that nothing reads', () => {
  it.each([
    ['PORT', /GATEWAY_PORT/],
    ['RATE_LIMIT_PROVIDER', /REDIS_URL/],
    ['RATE_LIMIT_CAPACITY', /limits\.policies/],
    ['RATELIMIT_DEFAULT', /limits\.policies/],
    ['DB_MAX_OVERFLOW', /DB_POOL_SIZE/],
    ['ADMIN_PASSWORD', /ADMIN_PASSWORD_FILE/],
    ['NODE_BUDGETS', /did you mean NODE_BUDGET\?/],
    ['REDIS_URI', /did you mean REDIS_URL\?/],
    ['LOG_LEVLE', /did you mean LOG_LEVEL\?/],
    ['SLUICE_NODES', /did you mean NODES\?/],
    ['GATEWAY_FLAVOUR', /settings\.md/],
    ['GUEST_HOURLY_FILE', /GUEST_HOURLY/],
  ])('%s is named with what it is here', (name, here) => {
    expect([...unreadSettings({ [name]: '5' }).keys()]).toEqual([name]);
    expect(unreadSettings({ [name]: '5' }).get(name)).toMatch(here);
    expect(unreadSettings({ [name]: '' }).size).toBe(0);
  });

  it('stops a start for what no other program can mean, all at once', () => {
    const environment = {
      GATEWAY_PROT: '1',
      gateway_host: 'x',
      DB_POOL_SIZES: '5',
      GUEST_HOURLY_FILE: '/x',
      SLUICE_NODES: '3',
    };
    expect(misspeltSettings(environment)).toEqual([
      'GATEWAY_PROT: there is no such setting; did you mean GATEWAY_PORT?',
      'gateway_host: there is no such setting; did you mean GATEWAY_HOST?',
      'DB_POOL_SIZES: there is no such setting; did you mean DB_POOL_SIZE?',
      'GUEST_HOURLY_FILE: nothing reads it, since only secrets come as files; expected GUEST_HOURLY',
      'SLUICE_NODES: there is no such setting; did you mean NODES?',
    ]);
    const table = { GUEST_HOURLY: integer('A limit.', 10, { min: 1, max: 100 }) };
    expect(() => readSettings(table, { GUEST_HOURLI: '5', GUEST_HOURLY: 'x', GATEWAY_PROT: '1' })).toThrow(
      'GUEST_HOURLI: there is no such setting; did you mean GUEST_HOURLY?\nGUEST_HOURLY="x": expected',
    );
  });

  it('says nothing of an ordinary environment: shells, Node, CI, platforms, databases, links of Kubernetes', () => {
    const names = `PATH HOME USER LOGNAME SHELL LANG LC_ALL TZ TERM PWD OLDPWD SHLVL EDITOR HOSTNAME HOST DEBUG CI DISPLAY SESSION_MANAGER
      SSH_AUTH_SOCK XDG_SESSION_ID XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS NODE NODE_ENV NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS NODE_VERSION
      npm_config_user_agent npm_lifecycle_event npm_package_name INIT_CWD GITHUB_TOKEN GITHUB_ACTIONS RUNNER_OS AWS_REGION AWS_ACCESS_KEY_ID
      GOOGLE_CLOUD_PROJECT HTTP_PROXY NO_PROXY PGHOST PGPORT PGUSER PGPASSWORD POSTGRES_USER POSTGRES_PASSWORD POSTGRES_DB DB_HOST DB_USER
      DB_PASSWORD DB_NAME DB_POOL REDIS_HOST REDIS_PORT RAILS_MASTER_KEY SECRET_KEY DYNO WEB_CONCURRENCY KUBERNETES_SERVICE_HOST KUBERNETES_PORT
      KUBERNETES_PORT_443_TCP_ADDR GATEWAY_SERVICE_HOST GATEWAY_SERVICE_PORT GATEWAY_SERVICE_PORT_HTTP GATEWAY_PORT_8083_TCP
      GATEWAY_PORT_8083_TCP_ADDR ALLOCATOR_PORT_50052_TCP_PROTO USER_SERVICE_HOST OPENAI_API_KEY MODEL_PATH BASE_URL USER_ID INITIAL_TOKEN
      REFRESH_TOKEN CONCURRENCY BATCH_SIZE ROUNDS SLUICE_URL LAB_WATCH KAFKA_BROKERS MAIL LS_COLORS _ TMPDIR OTEL_SERVICE_NAME`;
    const environment = Object.fromEntries(names.split(/\s+/).map((name) => [name, 'x']));
    expect([...unreadSettings(environment).keys()]).toEqual([]);
    expect(misspeltSettings(environment)).toEqual([]);
  });

  it('counts as read what the configuration refers to, secrets as files, what compose reads, and a PORT that was handed on', () => {
    const folder = mkdtempSync(join(tmpdir(), 'unread '));
    const file = join(folder, 'gateway.yaml');
    writeFileSync(file, 'address: ${GATEWAY_BACKEND:-x}, ${GATEWAY_HOSTS}');
    const read = namedByConfiguration({ GATEWAY_CONFIG: file });
    rmSync(folder, { recursive: true });
    const environment = {
      GATEWAY_BACKEND: 'b',
      GATEWAY_HOSTS: 'c',
      REDIS_URL_FILE: '/x',
      GATEWAY_PUBLISH: '127.0.0.1:8083',
      PORT: '8080',
      GATEWAY_PORT: '8080',
    };
    expect([...unreadSettings(environment, read).keys()]).toEqual([]);
    expect(misspeltSettings(environment, read)).toEqual([]);
    expect(misspeltSettings(environment)).toHaveLength(1);
  });
});
