import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { DaemonConfig } from '../../agent/docker/daemon-config.ts';
import { unsupportedStore } from '../../agent/overlay2/store-choice.ts';
import { scratch } from '../support/temp-tree.ts';

const defaults: DaemonConfig = {
  dataRoot: '/var/lib/docker',
  storageDriver: undefined,
  usernsRemap: undefined,
  containerdStore: undefined,
  containerd: undefined,
  execRoot: '/var/run/docker',
  hosts: [],
};

describe('the store of a data root', () => {
  for (const { is, config = {}, folders = [], says } of [
    { is: 'empty: overlay2', says: undefined },
    { is: 'with overlay2 filled', folders: ['overlay2/l'], says: undefined },
    {
      is: "with overlay2 filled, and another driver's, too: dockerd's own affair",
      folders: ['overlay2/l', 'btrfs/x'],
      says: undefined,
    },
    { is: 'with overlay2 chosen', config: { storageDriver: 'overlay2' }, folders: ['btrfs/x'], says: undefined },
    { is: 'with overlay2 empty', folders: ['overlay2'], says: undefined },
    { is: "with another driver's folder empty", folders: ['btrfs'], says: undefined },
    { is: 'with vfs: not a driver that dockerd would keep to', folders: ['vfs/dir'], says: undefined },
    {
      is: 'with another driver chosen',
      config: { storageDriver: 'vfs' },
      says: /^expected the storage driver 'overlay2', found 'vfs'$/,
    },
    {
      is: 'with another driver chosen and overlay2 filled',
      config: { storageDriver: 'vfs' },
      folders: ['overlay2/l'],
      says: /'vfs'/,
    },
    ...['btrfs', 'fuse-overlayfs', 'zfs'].map((driver) => ({
      is: `with ${driver} filled`,
      folders: [`${driver}/x`],
      says: new RegExp(`^dockerd would keep to the storage driver '${driver}', which .*/${driver} is filled by$`),
    })),
    {
      is: 'with userns-remap',
      config: { usernsRemap: 'default' },
      folders: ['overlay2/l'],
      says: /^userns-remap is set to 'default'/,
    },
    {
      is: 'with the containerd store chosen',
      config: { containerdStore: true },
      folders: ['overlay2/l'],
      says: /^the containerd image store is in use/,
    },
    {
      is: 'with the containerd store in use',
      folders: ['rootfs/overlayfs/x'],
      says: /^the containerd image store is in use \(.* is filled by it\)$/,
    },
    {
      is: 'with the containerd store of an embedded containerd in use',
      folders: ['containerd/daemon/io.containerd.content.v1.content/blobs/sha256'],
      says: /^the containerd image store is in use/,
    },
    {
      is: 'with the containerd store in use once, but switched off',
      config: { containerdStore: false },
      folders: ['rootfs/overlayfs/x'],
      says: undefined,
    },
    {
      is: 'with the containerd store in use once, overlay2 filled',
      folders: ['rootfs/overlayfs/x', 'overlay2/l'],
      says: undefined,
    },
  ] as readonly {
    is: string;
    config?: Partial<DaemonConfig>;
    folders?: readonly string[];
    says: RegExp | undefined;
  }[]) {
    it(is, async (t) => {
      const dataRoot = path.join(scratch(t), 'docker');
      for (const folder of folders) mkdirSync(path.join(dataRoot, folder), { recursive: true });
      const found = await unsupportedStore(dataRoot, { ...defaults, dataRoot, ...config }, () =>
        assert.fail('nothing here depends on the version'),
      );
      if (says === undefined) assert.equal(found, undefined);
      else assert.match(found ?? '', says);
    });
  }

  for (const { driver, last, first } of [
    { driver: 'aufs', last: '23.0.6', first: '24.0.0' },
    { driver: 'overlay', last: '20.10.24+dfsg1', first: '24.0.9' },
    { driver: 'devicemapper', last: '24.0.9', first: '25.0.0-1' },
  ]) {
    it(`with ${driver} filled: dockerd keeps to it up to ${last}, and knows none such from ${first} on`, async (t) => {
      const dataRoot = path.join(scratch(t), 'docker');
      mkdirSync(path.join(dataRoot, driver, 'x'), { recursive: true });
      const unsupportedBy = (version: string | null): Promise<string | undefined> =>
        unsupportedStore(dataRoot, { ...defaults, dataRoot }, () => Promise.resolve(version));
      assert.match(
        (await unsupportedBy(last)) ?? '',
        new RegExp(`^dockerd would keep to the storage driver '${driver}', which .*/${driver} is filled by$`),
      );
      assert.equal(await unsupportedBy(first), undefined);
      assert.match(
        (await unsupportedBy(null)) ?? '',
        new RegExp(`'${driver}'.*which dockerd starts here is not known; set "storage-driver": "overlay2"`),
      );
      // Another one that every dockerd knows.
      mkdirSync(path.join(dataRoot, 'zfs/x'), { recursive: true });
      assert.match((await unsupportedBy(first)) ?? '', /'zfs'/);
    });
  }
});
