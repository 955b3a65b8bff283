/**
 * Writes docs/reference/settings.md, and the names by which unread variables are told, from the tables that the processes read; with
 * --check, exits with 1 when one of the two is not what they say.
 * Needs the built apps.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { format, resolveConfig } from 'prettier';
import { serviceSettings } from '@sluice/service';
import { processSettings } from '@sluice/telemetry';
import { START_SETTINGS } from '@sluice/launch';
import { allocatorSettings } from '../apps/allocator/dist/settings.js';
import { settings as gatewaySettings } from '../apps/gateway/dist/settings.js';
import { postcardSettings } from '../apps/postcard/dist/settings.js';
import { userSettings } from '../apps/user/dist/settings.js';

const page = fileURLToPath(new URL('../docs/reference/settings.md', import.meta.url));

const SECTIONS = [
  [
    '`npm start`',
    'What the start itself looks at, besides the ports and hosts of the processes below.',
    START_SETTINGS,
  ],
  ['Every process', '', processSettings],
  ['Every gRPC service', '`user`, `allocator` and `postcard`.', serviceSettings],
  ['gateway', 'Upstreams, authentication and limits are in the file of `GATEWAY_CONFIG`.', gatewaySettings],
  ['user', '', userSettings({})],
  ['allocator', '', allocatorSettings({})],
  ['postcard', '', postcardSettings({})],
];

function render() {
  const seen = new Set();
  const parts = SECTIONS.map(([title, note, table]) => {
    const rows = Object.entries(table).filter(([name]) => !seen.has(name));
    for (const [name] of rows) seen.add(name);
    return `## ${title}\n\n${note && `${note}\n\n`}| setting | default | expected | what it does |\n|---|---|---|---|\n${rows.map(row).join('\n')}\n`;
  });
  return `# Settings

Environment variables, read once at the start; an empty value counts as absent. A wrong one stops the start with its name, its value and what was expected.
A setting marked *secret* may come as \`NAME_FILE\` instead, the path of a file whose content, less a trailing newline, is the value.

This page is written by \`npm run settings\` from the tables in the code, and the test run checks that it is current.

${parts.join('\n')}`;
}

function row([name, { fallback, absent, secret, expect, describe }]) {
  const usual = fallback !== undefined ? `\`${fallback}\`` : absent === 'required' ? 'none: required' : 'none';
  const cells = [`\`${name}\`${secret ? ' *secret*' : ''}`, usual, expect, describe];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** The names of all tables, of what is set for containers, and of the shipped configuration. */
function renderNames() {
  const names = new Map();
  for (const [, , table] of SECTIONS) for (const [name, { secret }] of Object.entries(table)) names.set(name, secret);
  const root = new URL('../', import.meta.url);
  const files = ['docker-compose.yml', ...readdirSync(new URL('config/', root)).map((name) => `config/${name}`)];
  for (const file of files.filter((name) => /\.ya?ml$/.test(name))) {
    for (const [, name] of readFileSync(new URL(file, root), 'utf8').matchAll(/\$\{([A-Z]\w*)/g))
      if (!names.has(name)) names.set(name, false);
  }
  const rows = [...names].sort(([a], [b]) => (a < b ? -1 : 1));
  return `/** Written by \`npm run settings\`: every setting of every process, of compose and of the shipped configuration. */
export const SETTING_NAMES: ReadonlyMap<string, { readonly secret: boolean }> = new Map([
${rows.map(([name, secret]) => `['${name}', { secret: ${secret} }],`).join('\n')}
]);
`;
}

for (const [path, written] of [
  [page, render()],
  [fileURLToPath(new URL('../libs/config/src/setting-names.ts', import.meta.url)), renderNames()],
]) {
  const text = await format(written, { ...(await resolveConfig(path)), filepath: path });
  if (!process.argv.includes('--check')) writeFileSync(path, text);
  else if (readFileSync(path, 'utf8') !== text) {
    console.error(`${path} is not what the code says: run \`npm run settings\``);
    process.exitCode = 1;
  }
}
