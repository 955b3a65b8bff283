import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

const read = (path) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const { services, networks } = parse(read('docker-compose.yml'), { merge: true });
const each = Object.entries(services);

/** What each service may reach; a new one is a decision, so it is a row here and in ADR 0005. */
const NETWORKS = {
  postgres: ['database'],
  redis: ['limits'],
  prepare: ['database'],
  user: ['database', 'metrics', 'services'],
  allocator: ['database', 'metrics', 'services'],
  postcard: ['database', 'metrics', 'model', 'services'],
  gateway: ['limits', 'metrics', 'public', 'services'],
  'open-allocator': ['database', 'metrics', 'services'],
  app: ['limits', 'metrics', 'public', 'services'],
  prometheus: ['metrics'],
  grafana: ['dashboards', 'metrics'],
};
const CAPABILITIES = { postgres: ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'SETGID', 'SETUID'] };
const PUBLISHED = {
  gateway: ['${GATEWAY_PUBLISH:-127.0.0.1:8083}:8083'],
  app: ['${APP_PUBLISH:-127.0.0.1:8000}:8083'],
  grafana: ['127.0.0.1:${GRAFANA_PORT:-3000}:3000'],
};
/** In no network at all. */
const ALIASES = { 'gateway-service': 'gateway', 'user-service': 'user', 'postcard-service': 'postcard' };
/** Whose secrets a service of another name has. */
const SECRETS_OF = { app: 'gateway', 'open-allocator': 'allocator' };
const networksOf = ({ networks: own }) => own && (Array.isArray(own) ? [...own] : Object.keys(own)).sort();
const FORBIDDEN = ['privileged', 'pid', 'ipc', 'userns_mode', 'devices', 'cgroup_parent', 'env_file'];

describe.each(each)('%s', (name, service) => {
  test('is read-only, without capabilities, and gains no privileges', () => {
    expect(service.read_only).toBe(true);
    expect(service.cap_drop).toEqual(['ALL']);
    expect(service.cap_add).toEqual(CAPABILITIES[name]);
    expect(service.security_opt).toEqual(['no-new-privileges:true']);
    expect(Object.keys(service).filter((key) => FORBIDDEN.includes(key))).toEqual([]);
  });

  test('is bounded in memory, processes, logs and what it writes to memory', () => {
    expect(service.mem_limit).toMatch(/^(\$\{[A-Z_]+:-)?\d+[mg]\}?$/);
    expect(service.pids_limit).toBeGreaterThan(0);
    expect(service.logging).toEqual({ driver: 'json-file', options: { 'max-size': '10m', 'max-file': '3' } });
    for (const mount of service.tmpfs) expect(mount).toMatch(/:size=\d+m$/);
  });

  test('is in the networks that it needs, and publishes only what it must', () => {
    if (name === 'lab') expect(service.network_mode).toBe('service:gateway');
    else if (name in ALIASES) expect(service.network_mode).toBe('none');
    else expect(service).not.toHaveProperty('network_mode');
    expect(networksOf(service)).toEqual(NETWORKS[name]);
    expect(service.ports).toEqual(PUBLISHED[name]);
  });

  test('has no secret in its environment or its arguments', () => {
    const environment = Object.entries(service.environment ?? {});
    const secret = /SECRET|PASSWORD|PASSWD|_KEY|TOKEN|CREDENTIAL|DATABASE_URL|REDIS_URL/;
    // ALLOCATOR's LARGE_REQUEST_TOKENS counts tokens of a model.
    const bare = environment.filter(
      ([key]) => secret.test(key) && !key.endsWith('_FILE') && key !== 'LARGE_REQUEST_TOKENS',
    );
    expect(bare).toEqual([]);
    const said = JSON.stringify([service.environment, service.command, service.entrypoint]);
    expect(said).not.toMatch(/:\/\/[^/"\s]*@|requirepass|--pass/);
  });

  test('mounts no secrets but its own, and nothing of the machine that it could write', () => {
    for (const mount of service.volumes ?? []) {
      const folder = /:\/secrets\/(\w+)/.exec(mount)?.[1];
      if (folder !== undefined && name !== 'prepare') expect(folder).toBe(SECRETS_OF[name] ?? name);
      if (/^[./$]/.test(mount) && mount.includes(':')) expect(mount).toMatch(/:ro$/);
      expect(mount).not.toContain('docker.sock');
    }
  });
});

test.each(Object.entries(ALIASES))(
  '%s stands for %s: its image, its build, its name in the network, and it waits for it',
  (alias, name) => {
    expect(services[alias]).toMatchObject({
      profiles: ['aliases'],
      image: services[name].image,
      build: services[name].build,
      depends_on: { [name]: { condition: 'service_healthy' } },
    });
    expect(services[name].networks.services.aliases).toEqual([alias]);
  },
);

test('what a service of a profile depends on is in that profile, too', () => {
  for (const [name, { profiles, depends_on: needed = {} }] of each) {
    for (const other of Array.isArray(needed) ? needed : Object.keys(needed))
      expect(services[other].profiles, `${name} needs ${other}`).toEqual(expect.arrayContaining(profiles));
  }
  const inProfile = (profile) => each.filter(([, { profiles }]) => profiles.includes(profile)).map(([name]) => name);
  expect(inProfile('core').sort()).toEqual(['allocator', 'gateway', 'postgres', 'prepare', 'redis', 'user']);
  expect(inProfile('allocator').sort()).toEqual(['app', 'open-allocator', 'postgres', 'prepare', 'redis']);
});

test('only networks of what publishes a port or calls out lead out', () => {
  const open = Object.entries(networks).filter(([, network]) => network?.internal !== true);
  expect(open.map(([name]) => name).sort()).toEqual(['dashboards', 'model', 'public']);
});

test('the password of Redis comes by standard input, and its health check reads it from the file', () => {
  const script = read('docker/redis-entrypoint.sh');
  expect(script).toMatch(/^exec redis-server - <<END\nrequirepass \$password$/m);
  expect(script).not.toMatch(/^\s*export\b/m);
  expect(services.redis.healthcheck.test.join(' ')).toContain('REDISCLI_AUTH=$$(cat /secrets/redis/redis-password)');
});

test.each([
  ['a key in the environment', { MODEL_API_KEY: 'sk-in-the-open' }, /^MODEL_API_KEY is set: .*MODEL_API_KEY_FILE/],
  ['a mail server in the environment', { SMTP_URL: 'smtp://a:b@mail' }, /^SMTP_URL is set: .*SMTP_URL_FILE/],
  ['a relative path', { MODEL_API_KEY_FILE: 'key' }, /^MODEL_API_KEY_FILE=key: expected an absolute path/],
  [
    'a path where nothing is',
    { MODEL_API_KEY_FILE: '/nowhere/key' },
    /^MODEL_API_KEY_FILE=\/nowhere\/key: there is no/,
  ],
])('dev.sh starts nothing with %s', (_, environment, fault) => {
  const script = fileURLToPath(new URL('dev.sh', import.meta.url));
  const { status, stderr } = spawnSync('sh', [script, 'up'], {
    env: { PATH: process.env.PATH, ...environment },
    encoding: 'utf8',
  });
  expect(stderr).toMatch(fault);
  expect(stderr).not.toContain('sk-in-the-open');
  expect(status).toBe(2);
});
