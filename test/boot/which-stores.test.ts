import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { chooseStores } from '../../agent/boot/which-stores.ts';
import type { Config } from '../../agent/config/config.ts';
import type { DaemonConfig } from '../../agent/docker/daemon-config.ts';
import { scratch } from '../support/temp-tree.ts';

interface Case {
  readonly is: string;
  readonly config?: Partial<Pick<Config, 'store' | 'namespaces'>>;
  readonly daemon?: Partial<DaemonConfig>;
  /** Files of the data root. */
  readonly files?: readonly string[];
  /** Undefined where nobody may ask for it: that takes longer than all that we do. */
  readonly version?: string | null;
  readonly overlay2: boolean;
  readonly namespaces: readonly string[];
  readonly leftAlone?: RegExp;
}

const used = ['overlay2/l/x'];
const cases: readonly Case[] = [
  { is: 'told: overlay2', config: { store: 'overlay2' }, overlay2: true, namespaces: [] },
  { is: 'told: containerd', config: { store: 'containerd' }, overlay2: false, namespaces: ['moby'] },
  { is: 'a fresh data root, Docker 28', version: '28.5.2', overlay2: true, namespaces: [] },
  { is: 'a fresh data root, Docker 29', version: '29.0.0', overlay2: false, namespaces: ['moby'] },
  { is: 'a fresh data root, Docker unknown', version: null, overlay2: true, namespaces: [] },
  { is: 'overlay2 was used, any Docker', files: used, overlay2: true, namespaces: [] },
  { is: 'another driver was used', files: ['btrfs/subvolumes/x'], overlay2: true, namespaces: [] },
  {
    is: "a trial of ours that was killed is nobody's use",
    files: ['overlay2/docker-preloader-trial/x'],
    version: '29.1.2',
    overlay2: false,
    namespaces: ['moby'],
  },
  { is: 'the feature on', daemon: { containerdStore: true }, files: used, overlay2: false, namespaces: ['moby'] },
  { is: 'the feature off', daemon: { containerdStore: false }, overlay2: true, namespaces: [] },
  { is: '`storage-driver`: overlay2', daemon: { storageDriver: 'overlay2' }, overlay2: true, namespaces: [] },
  {
    is: '`storage-driver`: overlayfs, Docker 29',
    daemon: { storageDriver: 'overlayfs' },
    version: '29.0.0',
    overlay2: false,
    namespaces: ['moby'],
  },
  {
    is: 'containerd was used, Docker unknown',
    files: ['rootfs/overlayfs/x'],
    version: null,
    overlay2: false,
    namespaces: ['moby'],
  },
  {
    is: 'containerd was used, Docker 28',
    files: ['rootfs/overlayfs/x'],
    version: '28.5.2',
    overlay2: true,
    namespaces: [],
  },
  {
    is: 'other namespaces besides',
    config: { namespaces: ['moby', 'k8s.io'] },
    files: used,
    overlay2: true,
    namespaces: ['k8s.io'],
  },
  { is: 'both', config: { store: 'both' }, files: used, overlay2: true, namespaces: ['moby'] },
  {
    is: 'both, told which',
    config: { store: 'both' },
    daemon: { containerdStore: true },
    overlay2: true,
    namespaces: ['moby'],
  },
  {
    is: "both, where nothing but our folder would make dockerd's choice",
    config: { store: 'both' },
    version: '29.0.0',
    overlay2: false,
    namespaces: ['moby'],
  },
  {
    is: 'another snapshotter',
    daemon: { containerdStore: true, storageDriver: 'native' },
    overlay2: false,
    namespaces: [],
    leftAlone: /expected the snapshotter 'overlayfs' .*, found 'native'/,
  },
  {
    is: 'userns-remap',
    config: { store: 'containerd', namespaces: ['moby', 'k8s.io'] },
    daemon: { usernsRemap: 'default' },
    overlay2: false,
    namespaces: ['k8s.io'],
    leftAlone: /userns-remap is set to 'default'/,
  },
];

describe('which stores are filled', () => {
  for (const { is, config, daemon, files = [], version, overlay2, namespaces, leftAlone } of cases)
    it(is, async (t) => {
      const dataRoot = path.join(scratch(t), 'docker');
      for (const file of files) {
        mkdirSync(path.dirname(path.join(dataRoot, file)), { recursive: true });
        writeFileSync(path.join(dataRoot, file), '');
      }
      const chosen = await chooseStores(
        { store: 'auto', namespaces: ['moby'], ...config },
        {
          dataRoot,
          storageDriver: undefined,
          usernsRemap: undefined,
          containerdStore: undefined,
          hosts: [],
          containerd: undefined,
          execRoot: '/var/run/docker',
          ...daemon,
        },
        dataRoot,
        () => {
          assert.notEqual(version, undefined, 'dockerd is asked for its version');
          return Promise.resolve(version ?? null);
        },
      );
      assert.deepEqual([chosen.overlay2, chosen.namespaces], [overlay2, namespaces]);
      if (leftAlone === undefined) assert.equal(chosen.leftAlone, undefined);
      else assert.match(chosen.leftAlone ?? '', leftAlone);
    });
});
