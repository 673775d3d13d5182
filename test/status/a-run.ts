import path from 'node:path';
import type { TestContext } from 'node:test';
import type { FoundDisk } from '../../agent/boot/discover.ts';
import { emptyLedger } from '../../agent/overlay2/store/ledger.ts';
import { plan } from '../../agent/overlay2/plan/make-plan.ts';
import type { Preload } from '../../agent/boot/preload.ts';
import { Timings } from '../../agent/boot/timings.ts';
import type { Finding } from '../../agent/messages/finding.ts';
import { FolderReader } from '../../agent/disk/folder-reader.ts';
import { readDisk } from '../../agent/disk/read-disk.ts';
import { Store } from '../../agent/overlay2/store/store.ts';
import type { Code } from '../../agent/messages/codes.ts';
import { loadImages, type ImageSpec } from '../boot/fake-store.ts';
import { scratch } from '../support/temp-tree.ts';

export const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1'] };

export const finding = (code: Code, message = `what ${code} says`, more: Partial<Finding> = {}): Finding => ({
  code,
  message,
  ...more,
});

/** A device with a label, as it is found. */
export function foundDisk(label: string, name = 'vdb'): FoundDisk {
  const superblock = { filesystem: 'erofs', label, uuid: '0'.repeat(32), sizeBytes: 4096, dirty: false } as const;
  return {
    label,
    superblock,
    rank: 0,
    device: { name, path: `/dev/${name}`, deviceNumber: '254:16', sizeBytes: 8192, removable: false, holders: [] },
  };
}

export interface RunOptions {
  /** What the disks hold, by label. */
  readonly disks?: Readonly<Record<string, readonly ImageSpec[]>>;
  /** What the user has. */
  readonly user?: readonly ImageSpec[];
}

/**
 * A run on a real plan: by default it found one disk with one image. What is in `change` takes the place of what it
 * came to.
 */
export function aRun(
  t: Pick<TestContext, 'after'>,
  change: Partial<Preload> = {},
  { disks = { 'dpl-a': [app] }, user = [] }: RunOptions = {},
): Preload {
  const folder = scratch(t);
  const dataRoot = path.join(folder, 'docker');
  if (user.length > 0) loadImages(dataRoot, user);
  const loaded = Object.entries(disks).map(([label, images], index) => {
    const root = path.join(folder, 'disks', label);
    loadImages(root, images, label);
    return {
      mounted: { ...foundDisk(label, `vd${'bcdefgh'.charAt(index)}`), path: root, adopted: false },
      content: readDisk(label, new FolderReader(root)),
    };
  });
  const planned = plan({
    store: new Store(dataRoot),
    ledger: { state: 'none', ledger: emptyLedger },
    disks: loaded.map(({ content }) => ({ content, rank: 0 })),
    config: { conflicts: 'user', removedImages: 'restore', prunedImages: 'restore' },
  });
  const timings = new Timings();
  timings.begin('config');
  return {
    dataRoot: '/var/lib/docker',
    disks: loaded,
    candidates: loaded.map(({ mounted }) => mounted),
    plan: planned,
    applied: true,
    isDockerRunning: false,
    findings: planned.findings,
    timings,
    ...change,
  };
}

/** So many milliseconds after the run began. */
export const later = (run: Preload, milliseconds: number): number =>
  (run.timings.entries[0]?.startUsec ?? 0) + milliseconds * 1000;
