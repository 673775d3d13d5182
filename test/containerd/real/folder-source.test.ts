import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { makeSite } from '../../store/site.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { startContainerd } from '../../support/containerd.ts';
import { copyDisk } from '../../support/copied-disk.ts';
import { mountsBelow } from '../../support/temp-tree.ts';
import { madeDisk } from './disks.ts';

describe("a folder in the place of a disk, for containerd's store", () => {
  after(cleanUpAll);

  it('gives it its images, which run and are saved, and takes them away again', async () => {
    const site = await makeSite('28.5');
    const containerd = await startContainerd('28.5', path.join(site.folder, 'c'));
    const folder = path.join(site.folder, 'sources/a');
    await mkdir(path.dirname(folder));
    await copyDisk((await madeDisk('a')).gzip, folder);
    await site.configure({ store: 'containerd', containerdAddress: containerd.address, sources: [folder] });
    await site.apply();
    assert.deepEqual([site.status().state, site.status().findings], ['ok', []]);
    const dockerd = await site.start({
      extraConfig: { containerd: containerd.address, features: { 'containerd-snapshotter': true } },
    });
    assert.equal(await dockerd.cli(['run', '--rm', '--network', 'none', 'app-a:1', 'cat', '/etc/a']), 'a');
    await dockerd.cli(['save', '--output', path.join(site.folder, 'saved.tar'), 'app-a:1']);
    const unlinked = await site.agent('unlink');
    assert.equal(unlinked.exitCode, 0, unlinked.all);
    assert.deepEqual(
      [await dockerd.cli(['images', '--quiet']), mountsBelow(path.join(site.folder, 'disks'))],
      ['', []],
    );
    await site.apply();
    assert.match(await dockerd.cli(['images']), /app-a/);
    const container = ['run', '--detach', '--name', 'runs', '--network', 'none', 'app-a:1', 'sleep', '1000'];
    await dockerd.cli(container);
    rmSync(folder, { recursive: true });
    await site.apply(3);
    assert.deepEqual(
      site.status().findings.map(({ code }) => code),
      ['DISK_MISSING', 'KEPT'],
    );
    // What runs has a mount of its own. The folder has its place again when it is there.
    await copyDisk((await madeDisk('a')).gzip, folder);
    await site.apply();
    assert.equal(await dockerd.cli(['run', '--rm', '--network', 'none', 'app-a:1', 'cat', '/etc/a']), 'a');
    await dockerd.cli(['rm', '--force', 'runs']);
    await dockerd.stop();
    await containerd.end();
    await site.remove();
  });
});
