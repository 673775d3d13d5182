import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { exportImage } from '../../../agent/builder/export/export-image.ts';
import { PreloaderError } from '../../../agent/system/errors.ts';
import { compareDisks } from '../../../agent/verify/compare-disks.ts';
import { inspectDisk } from '../../../agent/verify/inspect-disk.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { ensureDebianPackages } from '../../support/debian-packages.ts';
import { tempTree } from '../../support/temp-tree.ts';
import { craftTree, hostileDisks, spareSpec } from '../../safety/hostile-disks.ts';
import { makeDiskFile } from '../../safety/disk-file.ts';

const SECRET = 'what no disk may lead to\n';
const progress = {
  expect: (): void => undefined,
  step: (): void => undefined,
  read: (): void => undefined,
  end: (): void => undefined,
};
/** No disk here has more than some kilobytes in its images. */
const MOST_BYTES = 10_000_000;
const MOST_MS = 20_000;

describe('export and diff of hostile disks', () => {
  let folder: string;
  const at = (name: string): string => path.join(folder, name);
  before(async () => {
    await ensureDebianPackages(['perl', 'e2fsprogs'], { install: true });
    folder = (await tempTree('dpl-hexport', 'in-memory')).path;
    for (const name of ['out', 'canary', 'other']) mkdirSync(at(name));
    for (const name of ['secret', 'repositories.json']) writeFileSync(at(`canary/${name}`), SECRET);
  });
  after(cleanUpAll);

  /** Gives each image back, or says in one line why not, and leaves nothing. */
  async function exported(disk: string, name: string): Promise<void> {
    const output = at('out/image.tar');
    const start = performance.now();
    try {
      await exportImage(disk, name, output, [], progress);
      assert.ok(statSync(output).size < MOST_BYTES);
      assert.ok(!readFileSync(output).includes(SECRET));
      rmSync(output);
    } catch (error) {
      assert.ok(error instanceof PreloaderError, String(error));
      assert.ok(!error.message.includes('\n') && !error.message.includes(SECRET.trim()), error.message);
    } finally {
      assert.deepEqual(readdirSync(at('out')), []);
      assert.ok(performance.now() - start < MOST_MS);
    }
  }

  for (const disk of hostileDisks)
    it(disk.name, async () => {
      craftTree(at('tree'), disk, { canary: at('canary'), otherDisk: at('other') });
      try {
        const file = at('disk.ext4');
        await makeDiskFile(at('tree'), file, 'hostile');
        for (const where of [file, at('tree')]) {
          // Their layers have no tar-split that says anything: it is what is around them that is tried here.
          for (const name of ['bad:1', spareSpec.references?.[0] ?? '']) await exported(where, name);
        }
        const inspected = await inspectDisk(file, { deep: false }).catch(() => undefined);
        if (inspected !== undefined) assert.equal(compareDisks(inspected, inspected).same, true);
      } finally {
        for (const name of ['tree', 'disk.ext4']) if (existsSync(at(name))) rmSync(at(name), { recursive: true });
      }
    });
});
