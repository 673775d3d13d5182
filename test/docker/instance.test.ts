import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { dockerInstance } from '../../agent/docker/instance.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { withFileLock } from '../support/file-lock.ts';
import { tempTree } from '../support/temp-tree.ts';

after(cleanUpAll);

const databaseOf = (dataRoot: string): string => path.join(dataRoot, 'volumes/metadata.db');

describe('the dockerd on a data root', () => {
  it('is who has its lock, and not who has that of a file of the same number elsewhere', async () => {
    const folder = (await tempTree('dpl-instance')).path;
    const roots = ['ours', 'other'].map((name) => path.join(folder, name)) as [string, string];
    for (const root of roots) {
      mkdirSync(root);
      execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', root]);
      mkdirSync(path.join(root, 'volumes'));
      writeFileSync(databaseOf(root), '');
    }
    const [ours, other] = roots;
    assert.equal(statSync(databaseOf(ours)).ino, statSync(databaseOf(other)).ino);
    await withFileLock(databaseOf(other), async () => {
      assert.equal(dockerInstance(ours), undefined);
      assert.match(dockerInstance(other) ?? '', /^\d+$/);
      await withFileLock(databaseOf(ours), async () => assert.notEqual(dockerInstance(ours), dockerInstance(other)));
    });
    assert.equal(dockerInstance(other), undefined);
  });
});
