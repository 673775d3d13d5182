import assert from 'node:assert/strict';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { built } from '../../agent/packaging/build-program.ts';
import { references } from '../boot/fake-store.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { makeDisk } from '../support/disk.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { attach } from '../support/loop-device.ts';
import { torture } from '../support/size.ts';
import { tempTree, unmountBelow } from '../support/temp-tree.ts';
import { differences, readTree, type Tree } from '../support/tree.ts';
import { measured } from './measured.ts';

/** As many as a disk may have, or some. */
const IMAGES = torture ? 10_000 : 500;
/** Of the small executable, whose own memory is 2 MB. */
const PEAK_MB = torture ? 256 : 24;
const root = path.resolve(import.meta.dirname, '../..');
const label = `m${process.pid.toString(36)}`;

let folder: string;
const at = (name: string): string => path.join(folder, name);

before(async () => {
  folder = (await tempTree('dpl-many', 'in-memory')).path;
});
after(() => cleanUpAll());

describe(`a disk of ${IMAGES} images`, () => {
  it('is built, and both executables take it: the same store, and nothing to change in the next boot', async (t) => {
    const images = Array.from({ length: IMAGES }, (_, number) => ({
      tags: [`many/image-${number}:1`],
      layers: [[{ name: 'base', content: 'shared' }], [{ name: 'own', content: String(number) }]],
    }));
    const disk = await makeDisk(at('disk.ext4'), await dockerArchive(images), '--label', label);
    const config = {
      labels: [label],
      dataRoot: at('data'),
      mountRoot: at('disks'),
      dockerConfig: at('daemon.json'),
      statusSocket: at('status/status.sock'),
      deviceTimeoutSec: 0,
      store: 'overlay2',
    };
    writeFileSync(at('config.json'), JSON.stringify(config));
    const loop = await attach(disk);
    const stores: Tree[] = [];
    try {
      for (const which of ['small', 'whole'] as const) {
        for (const says of [/, \d+ changes, /, /, nothing to change, /]) {
          const program = [path.join(root, 'dist', built[which])];
          const args = ['apply', '--config', at('config.json')];
          const { exitCode, all, peakMb, seconds } = await measured(args, at('time'), program);
          assert.equal(exitCode, 0, all);
          assert.match(all, new RegExp(`^ok: 1 disk, ${IMAGES} images, ${IMAGES + 1} layers${says.source}`, 'm'));
          t.diagnostic(`${which}, ${says.source}: ${seconds} s, ${peakMb.toFixed(0)} MB`);
          if (which === 'small') assert.ok(peakMb < PEAK_MB, `${peakMb} MB`);
        }
        assert.equal(references(at('data')).size, IMAGES);
        stores.push(readTree(at('data'), 'digest'));
        await unmountBelow(at('disks'));
        for (const name of ['data', 'status']) rmSync(at(name), { recursive: true });
      }
    } finally {
      await unmountBelow(at('disks'));
      await loop.detach();
    }
    const [small, whole] = stores;
    assert.deepEqual(differences(whole ?? assert.fail(), small ?? assert.fail()), []);
  });
});
