import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigurationError } from '@sluice/config';
import { mailKinds } from './mail-kinds.js';

/** What a template may name as `{{name}}`. */
export interface TemplateValues {
  readonly tenant: string;
  readonly email: string;
  /** Empty in a mail without a link. */
  readonly link: string;
  /** For how long the link works, for example `30 minutes`. */
  readonly valid: string;
}

/** A mail as it is read. */
export interface FilledTemplate {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
}

export type Templates = ReadonlyMap<string, (values: TemplateValues) => FilledTemplate>;

const BUILT_IN = fileURLToPath(new URL('../../templates', import.meta.url));
const PLACEHOLDER = /\{\{([^{}]*)\}\}/g;
const NAMES: ReadonlySet<string> = new Set(['tenant', 'email', 'link', 'valid'] satisfies (keyof TemplateValues)[]);
const SUBJECT = /^Subject: (.+)\r?\n\r?\n/;

/**
 * Reads the templates: for each a text, whose first line is `Subject: …`, and the same as HTML. A folder of one's own may replace some
 * of them, always both files.
 *
 * @throws ConfigurationError with every fault of every file
 */
export function readTemplates(folder: string | undefined): Templates {
  const names = [...new Set(Object.values(mailKinds).map(({ template }) => template))];
  const faults: string[] = [];
  const fault = (file: string, expected: string) =>
    faults.push(`MAIL_TEMPLATES=${JSON.stringify(folder ?? BUILT_IN)}: ${file}: expected ${expected}`);
  const own = folder === undefined ? new Set<string>() : filesOf(folder, names, fault);
  const templates = new Map<string, (values: TemplateValues) => FilledTemplate>();
  for (const name of names) {
    const [textFile, htmlFile] = [`${name}.txt`, `${name}.html`];
    if (own.has(textFile) !== own.has(htmlFile)) {
      fault(own.has(textFile) ? htmlFile : textFile, 'this file beside the other form of the same mail');
      continue;
    }
    const from = own.has(textFile) ? folder! : BUILT_IN;
    const [text, html] = [textFile, htmlFile].map((file) => readFileSync(join(from, file), 'utf8')) as [string, string];
    const subject = SUBJECT.exec(text)?.[1];
    if (subject === undefined) fault(textFile, '`Subject: …` as the first line and an empty one after it');
    const linked = Object.values(mailKinds).some((kind) => kind.template === name && 'link' in kind);
    for (const [file, content] of [
      [textFile, text],
      [htmlFile, html],
    ] as const) {
      for (const [whole, placeholder] of content.matchAll(PLACEHOLDER)) {
        if (!NAMES.has(placeholder!))
          fault(file, `one of ${[...NAMES].map((one) => `{{${one}}}`).join(', ')}, not ${whole}`);
      }
      if (linked !== content.includes('{{link}}'))
        fault(file, linked ? '{{link}} in it' : 'no {{link}}: this mail has none');
    }
    templates.set(name, (values) => ({
      subject: fill(subject!, values, oneLine),
      text: fill(text.replace(SUBJECT, ''), values, oneLine),
      html: fill(html, values, escapeHtml),
    }));
  }
  if (faults.length > 0) throw new ConfigurationError(faults);
  return templates;
}

function filesOf(folder: string, names: readonly string[], fault: (file: string, expected: string) => void) {
  let files: string[];
  try {
    files = readdirSync(folder).filter((file) => !file.startsWith('.'));
  } catch (error) {
    throw new ConfigurationError([
      `MAIL_TEMPLATES=${JSON.stringify(folder)}: expected a folder that can be read (${(error as Error).message})`,
    ]);
  }
  const known = new Set(names.flatMap((name) => [`${name}.txt`, `${name}.html`]));
  for (const file of files) if (!known.has(file)) fault(file, `one of ${[...known].join(', ')}`);
  return new Set(files);
}

function fill(template: string, values: TemplateValues, escape: (text: string) => string): string {
  return template.replaceAll(PLACEHOLDER, (_, name: keyof TemplateValues) => escape(values[name]));
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!);
}

/** Nothing that is filled in begins another line. */
function oneLine(text: string): string {
  return text.replaceAll(/[\r\n\u2028\u2029]+/g, ' ');
}
