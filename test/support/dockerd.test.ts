import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { cleanUpAll } from './cleanup.ts';
import { startDockerd } from './dockerd.ts';
import { dockerdVersions } from './dockerd-version.ts';
import { mountsBelow, tempTree } from './temp-tree.ts';

describe('startDockerd', () => {
  after(cleanUpAll);

  for (const version of dockerdVersions) {
    it(`runs ${version} beside the system's, and leaves nothing mounted`, async () => {
      const tree = await tempTree();
      const dataRoot = path.join(tree.path, 'data');
      const dockerd = await startDockerd({ version, dataRoot });
      const info = await dockerd.cli(['info', '--format', '{{.ServerVersion}} {{.Driver}} {{.DockerRootDir}}']);
      assert.ok(info.startsWith(version) && info.endsWith(` overlay2 ${dataRoot}`), info);
      await dockerd.stop();
      assert.equal(existsSync(dockerd.socket), false);
      assert.deepEqual(mountsBelow(tree.path), []);
      await tree.remove();
    });
  }

  it('throws with the log of a dockerd that does not start', async () => {
    const tree = await tempTree();
    await assert.rejects(
      startDockerd({ version: '20.10', dataRoot: tree.path, extraConfig: { 'storage-driver': 'no-such-driver' } }),
      /did not start on .*: expected it to answer on .*, but it ended with 1\n[^]*no-such-driver/,
    );
    await tree.remove();
  });
});
