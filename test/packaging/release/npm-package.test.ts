import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { writeNpmPackage } from '../../../agent/packaging/release/npm-package.ts';
import { scratch } from '../../support/temp-tree.ts';

const described = {
  name: 'docker-preloader',
  version: '1.2.3',
  bin: { 'docker-preloader': 'dist/docker-preloader.mjs' },
  files: ['dist/docker-preloader.mjs'],
};

describe('the npm package of a release', () => {
  it('has the same bytes of a clone that only its owner reads', async (t) => {
    const made: Buffer[] = [];
    for (const mode of [0o644, 0o600]) {
      const [root, folder] = [scratch(t), scratch(t)];
      mkdirSync(path.join(root, 'dist'));
      for (const name of ['LICENSE', 'README.md', 'dist/docker-preloader.mjs'])
        writeFileSync(path.join(root, name), name, { mode });
      writeFileSync(path.join(root, 'package.json'), JSON.stringify(described), { mode });
      await writeNpmPackage(root, folder);
      assert.deepEqual(readdirSync(folder), ['docker-preloader-1.2.3.tgz']);
      made.push(readFileSync(path.join(folder, 'docker-preloader-1.2.3.tgz')));
    }
    const [first, second] = made;
    assert.deepEqual(second, first);
  });
});
