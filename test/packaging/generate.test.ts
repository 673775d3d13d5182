import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { generatedFiles } from '../../agent/packaging/generate.ts';

const root = path.resolve(import.meta.dirname, '../..');

describe('files that are made from the code', () => {
  for (const [name, text] of Object.entries(generatedFiles(root))) {
    it(`${name} is as \`npm run generate\` makes it`, () =>
      assert.equal(readFileSync(path.join(root, name), 'utf8'), text));
  }
});
