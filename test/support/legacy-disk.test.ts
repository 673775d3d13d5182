import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { cleanUpAll } from './cleanup.ts';
import { fetchDebianPackage } from './debian-packages.ts';
import { startDockerd } from './dockerd.ts';
import { buildImage, changedFiles, changingDockerfile, importBase, loadManyLayers, observe } from './images.ts';
import { makeLegacyDisk } from './legacy-disk.ts';
import { attach } from './loop-device.ts';
import { tempTree, unmountBelow } from './temp-tree.ts';

describe('a disk made of a data root', () => {
  let tree = '';
  let dataRoot = '';
  before(async () => {
    tree = (await tempTree()).path;
    dataRoot = path.join(tree, 'data');
    const dockerd = await startDockerd({ version: '20.10', dataRoot });
    await importBase(dockerd, 'base:1');
    await buildImage(dockerd, 'multi:1', changingDockerfile('base:1'), 'classic');
    await loadManyLayers(dockerd, 'deep:1', 12);
    assert.equal(
      await dockerd.cli(['run', '--name', 'one', '--network', 'none', 'multi:1', 'sh', '-c', observe]),
      changedFiles,
    );
    assert.equal(
      await dockerd.cli(['run', '--rm', '--network', 'none', 'deep:1', 'sh', '-c', 'echo $(ls /layers)']),
      '11 12',
    );
    await dockerd.stop();
  });
  after(cleanUpAll);

  for (const filesystem of ['ext4', 'erofs'] as const) {
    it(`holds image/ and overlay2/ with whiteouts and opaque folders, on ${filesystem}`, async () => {
      const file = path.join(tree, `disk.${filesystem}`);
      await makeLegacyDisk(dataRoot, file, {
        label: 'dpl-self-test',
        filesystem,
        dropTopCommitted: true,
        leftovers: true,
      });
      const { device } = await attach(file);
      const { stdout: label } = await execa('blkid', ['--probe', '--output', 'value', '--match-tag', 'LABEL', device]);
      assert.equal(label, 'dpl-self-test');
      const mountPoint = path.join(tree, filesystem);
      await mkdir(mountPoint);
      await execa('mount', ['-t', filesystem, '-o', 'ro', device, mountPoint]);

      const whiteouts = (
        await execa('find', [path.join(mountPoint, 'overlay2'), '-type', 'c', '-path', '*/lower/deleted'])
      ).stdout.split('\n');
      assert.equal(whiteouts.length, 1);
      const getfattr = path.join(await fetchDebianPackage('bookworm', ['attr']), 'usr/bin/getfattr');
      const opaque = (
        await execa(getfattr, [
          '--recursive',
          '--physical',
          '--dump',
          '--absolute-names',
          '--match=trusted.overlay.opaque',
          path.join(mountPoint, 'overlay2'),
        ])
      ).stdout;
      assert.match(opaque, /diff\/covered\ntrusted\.overlay\.opaque="y"/);
      const layerdb = path.join(mountPoint, 'image/overlay2/layerdb');
      const chains = readdirSync(path.join(layerdb, 'sha256'));
      assert.equal(chains.filter((name) => name.endsWith('-removing')).length, 1);
      assert.equal(chains.length, 4 + 12 + 1);
      assert.equal(existsSync(path.join(layerdb, 'mounts')), false);
      const committed = (chain: string): boolean =>
        existsSync(
          path.join(
            mountPoint,
            'overlay2',
            readFileSync(path.join(layerdb, 'sha256', chain, 'cache-id'), 'utf8'),
            'committed',
          ),
        );
      assert.equal(chains.filter((chain) => !chain.endsWith('-removing') && !committed(chain)).length, 2);
      await unmountBelow(mountPoint);
    });
  }
});
