/**
 * Writes docs/reference/settings.md from the tables that the processes read; with --check, exits with 1 when the page is not what they say.
 * Needs the built apps.
 */
import { readFileSync, writeFileSync } from 'node:fs';
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

const text = await format(render(), { ...(await resolveConfig(page)), filepath: page });
if (!process.argv.includes('--check')) writeFileSync(page, text);
else if (readFileSync(page, 'utf8') !== text) {
  console.error('docs/reference/settings.md is not what the code says: run `npm run settings`');
  process.exitCode = 1;
}
