import assert from 'node:assert/strict';
import { readlinkSync, readdirSync, statSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { it } from 'node:test';
import { LinkFarm } from '../../agent/containerd/link-farm.ts';
import { scratch } from '../support/temp-tree.ts';

const [one, two] = ['1', '2'].map((digit) => `sha256:${digit.repeat(64)}`) as [string, string];

it('has the links that it is told, and no others', (t) => {
  const root = path.join(scratch(t), 'farm');
  const farm = new LinkFarm(root);
  const links = new Map([
    [farm.layer(one), '/disks/a/1'],
    [farm.blob(two), '/disks/a/2'],
  ]);
  assert.equal(farm.changes(links), 2);
  assert.equal(farm.fill(links), 2);
  assert.equal(readlinkSync(path.join(root, 'layers', '1'.repeat(64))), '/disks/a/1');
  assert.deepEqual([farm.changes(links), farm.fill(links)], [0, 0]);
  assert.equal(statSync(path.join(root, 'layers')).mode & 0o777, 0o700);

  assert.equal(farm.fill(new Map([[farm.layer(one), '/disks/b/1']])), 2);
  assert.equal(readlinkSync(farm.layer(one)), '/disks/b/1');
  assert.deepEqual(readdirSync(path.join(root, 'blobs')), []);
});

it('is not made where there is nothing to link, and is emptied where there was', (t) => {
  const root = path.join(scratch(t), 'farm');
  const farm = new LinkFarm(root);
  assert.equal(farm.fill(new Map()), 0);
  assert.throws(() => statSync(root), /ENOENT/);
  farm.fill(new Map([[farm.layer(one), '/a']]));
  // What a run that was killed while it replaced a link has left.
  symlinkSync('/a', `${farm.layer(one)}.docker-preloader`);
  assert.equal(farm.fill(new Map()), 2);
  assert.deepEqual(readdirSync(path.join(root, 'layers')), []);
});
