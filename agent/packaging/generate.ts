import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { catalogText, codeTable } from '../messages/catalog.ts';
import { jsonSchemas } from '../status/json-schema.ts';
import { configKeys } from './manual/man-pages.ts';

/**
 * The files of the repository that are made from its code, with their content. A test checks that they are up to date.
 */
export function generatedFiles(root: string): Readonly<Record<string, string>> {
  return {
    'units/docker-preloader.catalog': catalogText(),
    ...Object.fromEntries(Object.entries(jsonSchemas()).map(([name, text]) => [`agent/status/schemas/${name}`, text])),
    'agent/status/README.md': withTable(root, 'agent/status/README.md', 'codes', codeTable()),
    'agent/commands/README.md': withTable(root, 'agent/commands/README.md', 'keys', keyTable()),
  };
}

/** A document with a new table between its two marks. @throws an Error if it does not have both marks */
function withTable(root: string, document: string, name: string, table: string): string {
  const begin = `<!-- ${name}: made by npm run generate -->`;
  const end = `<!-- end of ${name} -->`;
  const [before, rest = ''] = readFileSync(path.join(root, document), 'utf8').split(begin);
  const after = rest.split(end)[1];
  if (before === undefined || after === undefined)
    throw new Error(`Expected ${document} to have the lines \`${begin}\` and \`${end}\`, found none`);
  return `${before}${begin}\n${table}\n${end}${after}`;
}

/** The table of the configuration's keys, in Markdown. */
function keyTable(): string {
  const rows = configKeys().map(({ key, defaultText, meaning }) => `| \`${key}\` | ${defaultText} | ${meaning} |`);
  return ['| key | default | meaning |', '|---|---|---|', ...rows].join('\n');
}

if (import.meta.main) {
  const root = path.resolve(import.meta.dirname, '../..');
  for (const [name, text] of Object.entries(generatedFiles(root))) {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    writeFileSync(path.join(root, name), text);
    console.log(name);
  }
}
