import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { callerSecretFor, gatewaySecretFor } from '@sluice/config';
import { freePort } from '@sluice/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { BIN, openFolder, type StandaloneGateway, startGateway } from './standalone-gateway.js';

/** docs/gateway-for-your-own-service.md, done as it says: its files, its commands, and the answers that it promises. */

const page = readFileSync(fileURLToPath(new URL('../docs/gateway-for-your-own-service.md', import.meta.url)), 'utf8');
const blocks = [...page.matchAll(/```(\w+)\n(.*?)```/gs)].map(([, language, text]) => ({ language, text: text! }));
const blocksOf = (language: string) => blocks.filter((block) => block.language === language).map(({ text }) => text);
const [configuration, issuer, access, limits] = blocksOf('yaml') as [string, string, string, string];

const folder = openFolder();
const PATH = [BIN, process.env['PATH']].join(delimiter);
let servicePort: number;
let service: ChildProcess;
let gateway: StandaloneGateway | undefined;

const configured = (more = '') => configuration.replace('50099', String(servicePort)) + more;

async function shell(command: string): Promise<string> {
  const { stdout } = await promisify(execFile)('sh', ['-c', command], {
    cwd: folder.path,
    env: { ...process.env, PATH },
  }).catch((error: { stdout: string; code: number; stderr: string }) => {
    throw new Error(`${command}: ${error.code} ${error.stderr}${error.stdout}`);
  });
  return stdout;
}

/** Each `$ command` of the page and the output that follows it. An ellipsis stands for anything. */
function promises(console: string): [string, RegExp][] {
  return console
    .split(/^\$ /m)
    .slice(1)
    .map((text) => {
      const [command, ...lines] = text.trimEnd().split('\n');
      const escaped = lines.join('\n').replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
      return [command!, new RegExp(`^${escaped.replaceAll('…', '.*')}\\s*$`, 's')];
    });
}

async function keepsPromises(console: string): Promise<void> {
  for (const [command, output] of promises(console)) {
    const url = gateway ? command.replaceAll('localhost:8083', `localhost:${gateway.port}`) : command;
    expect(await shell(url.replace(/^curl /, 'curl -s ')), command).toMatch(output);
  }
}

beforeAll(async () => {
  servicePort = await freePort();
  folder.write('greeter.proto', blocksOf('proto')[0]!);
  folder.write('service.mjs', blocksOf('js')[0]!.replace("'127.0.0.1:50099'", `'127.0.0.1:${servicePort}'`));
  symlinkSync(join(BIN, '..'), join(folder.path, 'node_modules'));
  service = spawn(process.execPath, ['service.mjs'], { cwd: folder.path, stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => service.stdout!.once('data', resolve));
});
afterEach(async () => {
  expect(await gateway?.stop()).toBe(gateway && 0);
  gateway = undefined;
});
afterAll(() => {
  service?.kill();
  folder.remove();
});

const [protoc, buf] = /^(protoc .*?) +# or: (buf .*)$/m.exec(blocksOf('sh')[1]!)!.slice(1) as [string, string];
const [checked, answered] = blocksOf('console') as [string, string];

describe.each([
  ['protoc', protoc],
  ['buf', buf],
])('with a descriptor set made by %s', (program, command) => {
  const missing = program === 'protoc' && !existsSync('/usr/bin/protoc');
  it.skipIf(missing)('every command of the page does what the page says', async () => {
    rmSync(join(folder.path, 'greeter.binpb'), { force: true });
    await shell(command);
    folder.write('my.yaml', configured());
    await keepsPromises(checked);
    gateway = await startGateway(folder.path);
    await keepsPromises(answered);
  });
});

describe('the variations of the page', () => {
  beforeAll(() => shell(buf));

  it('a mistake is named with its line, and the exit code is 78', async () => {
    folder.write('my.yaml', configured().replace("'/greet/{name}'", '7'));
    await expect(shell('sluice-gateway --check --config my.yaml')).rejects.toThrow(/: 78 [^]*my\.yaml:\d+:\d+: .*get/);
    folder.write('my.yaml', configured().replace('{times}', '{tims}'));
    await expect(shell('sluice-gateway --check --config my.yaml')).rejects.toThrow(/: 78 [^]*Greeter\.Chime.*tims/);
  });

  it('a path prefix, and a POST for methods without a rule', async () => {
    const more = '    path_prefix: /acme/v2\n    unannotated: post\n';
    const rules = configured().replace(/ {8}- selector: acme.greeter.v1.Greeter.Chime\n.*\n/, '');
    folder.write('my.yaml', rules + more);
    gateway = await startGateway(folder.path);
    const json = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"times":2}' };
    const chime = await fetch(`${gateway.origin}/acme/v2/acme.greeter.v1.Greeter/Chime`, json);
    expect((await chime.text()).trim().split('\n')).toHaveLength(2);
    expect((await fetch(`${gateway.origin}/acme/v2/greet/Ann`)).status).toBe(200);
    expect((await fetch(`${gateway.origin}/greet/Ann`)).status).toBe(404);
  });

  it('an issuer, exceptions, and limits', async () => {
    const rules = access.replaceAll(/^/gm, '    ').trimEnd();
    const silent = issuer.replaceAll('https://login.example.com', 'http://127.0.0.1:1');
    folder.write('my.yaml', configured(`${rules}\n${silent}${limits.replace('limit: 100', 'limit: 2')}`));
    gateway = await startGateway(folder.path);
    expect((await fetch(`${gateway.origin}/chime/1`)).status).toBe(401);
    const statuses = [];
    for (let count = 0; count < 3; count++) statuses.push((await fetch(`${gateway.origin}/greet/Ann`)).status);
    expect(statuses).toContain(200);
    expect(statuses.at(-1)).toBe(429);
  });

  it('a changed file is taken over, and one that cannot work is not', async () => {
    folder.write('my.yaml', configured());
    gateway = await startGateway(folder.path);
    const status = async (path: string) => (await fetch(gateway!.origin + path)).status;
    expect(await status('/hello/Ann')).toBe(404);
    folder.write('my.yaml', configured().replaceAll('/greet/', '/hello/'));
    await expect.poll(() => status('/hello/Ann'), { timeout: 10_000 }).toBe(200);
    writeFileSync(join(folder.path, 'greeter.binpb'), 'garbage');
    await expect.poll(() => gateway!.log(), { timeout: 10_000 }).toContain('the old one stays in force');
    expect(await status('/hello/Ann')).toBe(200);
    await shell(buf);
  });
});

describe('the secret by which a service of your own knows the gateway', () => {
  const root = 'the root of all secrets, held by the gateway';
  const asked = (flags: string) => shell(`sluice-gateway ${flags}`);
  const withRoot = (flags: string) => {
    folder.write('root', `${root}\n`);
    return shell(`GATEWAY_SECRET_FILE=root sluice-gateway ${flags}`);
  };

  it('is printed for its name, and for who calls it', async () => {
    const greeter = gatewaySecretFor('greeter', root);
    expect(await withRoot('--secret-of greeter')).toBe(`${greeter}\n`);
    expect(await withRoot('--secret-of greeter --held-by postcard')).toBe(`${callerSecretFor('postcard', greeter)}\n`);
  });

  it.each([
    ['--secret-of greeter', /: 78 [^]*GATEWAY_SECRET is not set: expected at least 16 characters/],
    ['--secret-of Greeter', /: 64 --secret-of "Greeter": expected the name of a service/],
    ['--held-by postcard', /: 64 --held-by: expected --secret-of SERVICE beside it/],
  ])('%s is refused', async (flags, message) => {
    await expect(asked(flags)).rejects.toThrow(message);
  });
});
