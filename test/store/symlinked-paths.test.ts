import assert from 'node:assert/strict';
import { existsSync, lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { mkdir, symlink } from 'node:fs/promises';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { cleanUpAll } from '../support/cleanup.ts';
import { mountsBelow } from '../support/temp-tree.ts';
import { fixtures } from './fixtures.ts';
import { layerFolder } from './layer-folder.ts';
import { makeSite } from './site.ts';

describe('paths that lead through symlinks', () => {
  after(cleanUpAll);

  it('mean what they lead to: disks are mounted, found mounted, verified, and unmounted', async () => {
    const made = await fixtures();
    const site = await makeSite('28.5');
    const at = (...parts: readonly string[]): string => path.join(site.folder, ...parts);
    // As /var/run, which leads to /run; and links to what is not there yet after a boot.
    await mkdir(at('tmp'));
    await mkdir(at('var'));
    await symlink('../tmp', at('var/run'));
    await symlink('tmp/later/status', at('status'));
    await symlink(site.dataRoot, at('data-link'));
    await site.configure({
      mountRoot: at('var/run/disks'),
      dataRoot: at('data-link'),
      statusSocket: at('status/status.sock'),
    });
    await site.attach(made.first);
    await site.apply();
    assert.deepEqual(site.status().findings, []);
    const mounted = at('tmp/disks', site.labelOf('first'));
    assert.deepEqual(mountsBelow(site.folder), [mounted]);
    const base = layerFolder(site.dataRoot, made.images.first['base:1']?.diffIds ?? []);
    assert.ok(readlinkSync(path.join(base, 'diff')).startsWith(`${mounted}/overlay2/`));

    // Nothing is to be done again.
    assert.match((await site.apply()).all, /ok: .* nothing to change/);
    assert.deepEqual(mountsBelow(site.folder), [mounted]);
    assert.equal((await site.agent('plan')).all, 'nothing to do');
    const verified = await site.agent('verify');
    assert.equal(verified.exitCode, 0, verified.all);

    const dockerd = await site.start();
    assert.equal(await dockerd.cli(['run', '--rm', '--network', 'none', 'base:1', 'cat', '/lower/kept']), 'kept');
    await dockerd.stop();

    const unlinked = await site.agent('unlink');
    assert.equal(unlinked.exitCode, 0, unlinked.all);
    assert.deepEqual(mountsBelow(site.folder), []);
    assert.deepEqual(readdirSync(at('tmp/disks')), []);
    await site.remove();
  });

  it('do not hide that disks would be mounted below the data root', async () => {
    const made = await fixtures();
    const site = await makeSite('28.5');
    await symlink(site.dataRoot, path.join(site.folder, 'elsewhere'));
    await site.configure({ mountRoot: path.join(site.folder, 'elsewhere/disks') });
    await site.attach(made.first);
    const { exitCode, all } = await site.agent('apply');
    assert.equal(exitCode, 1, all);
    assert.match(all, /`mountRoot`: expected a folder outside of the data root .*, found .*\/data\/disks/);
    assert.deepEqual(mountsBelow(site.folder), []);
    assert.equal(existsSync(path.join(site.dataRoot, 'overlay2')), false);
    await site.remove();
  });

  it('are refused in place of the folder that a disk is mounted on', async () => {
    const made = await fixtures();
    const site = await makeSite('28.5');
    await site.attach(made.first);
    const place = path.join(site.mountRoot, site.labelOf('first'));
    await mkdir(site.mountRoot);
    await mkdir(path.join(site.folder, 'elsewhere'));
    await symlink('../elsewhere', place);
    assert.match((await site.apply(3)).all, /expected a folder, found something else; remove it/);
    assert.deepEqual(
      site.status().findings.map(({ code }) => code),
      ['MOUNT_FAILED'],
    );
    assert.deepEqual(mountsBelow(site.folder), []);
    assert.ok(lstatSync(place).isSymbolicLink());
    await site.remove();
  });
});
