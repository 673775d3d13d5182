import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { catalogText, codeTable } from '../messages/catalog.ts';
import { jsonSchemas } from '../status/json-schema.ts';

const BEGIN = '<!-- codes: made by npm run generate -->';
const END = '<!-- end of codes -->';

/** Files of the repository that are made from its code, with what they are to hold. A test holds them to it. */
export function generatedFiles(root: string): Readonly<Record<string, string>> {
  const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
  const [before, rest = ''] = readme.split(BEGIN);
  const after = rest.split(END)[1];
  if (before === undefined || after === undefined)
    throw new Error(`Expected README.md to have the lines \`${BEGIN}\` and \`${END}\`, found none`);
  return {
    'units/docker-preloader.catalog': catalogText(),
    ...Object.fromEntries(Object.entries(jsonSchemas()).map(([name, text]) => [`agent/status/schemas/${name}`, text])),
    'README.md': `${before}${BEGIN}\n${codeTable()}\n${END}${after}`,
  };
}

if (import.meta.main) {
  const root = path.resolve(import.meta.dirname, '../..');
  for (const [name, text] of Object.entries(generatedFiles(root))) {
    mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    writeFileSync(path.join(root, name), text);
    console.log(name);
  }
}
