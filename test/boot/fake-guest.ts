import assert from 'node:assert/strict';
import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { apply } from '../../agent/overlay2/apply/apply-steps.ts';
import { checkResult } from '../../agent/overlay2/check-result.ts';
import { readLedger } from '../../agent/overlay2/store/ledger.ts';
import { plan, type Plan, type PlanInput } from '../../agent/overlay2/plan/make-plan.ts';
import { defaultConfig, type Config } from '../../agent/config/config.ts';
import { FolderReader } from '../../agent/disk/folder-reader.ts';
import { readDisk } from '../../agent/disk/read-disk.ts';
import { Store } from '../../agent/overlay2/store/store.ts';
import { tryLockFile } from '../../agent/system/lock.ts';
import { factsOf, loadImages, must, writeFile, type ImageSpec } from './fake-store.ts';

export interface DiskOptions {
  readonly priority?: number;
  /** Disks that this one builds on: their layers are left out of it. */
  readonly bases?: readonly { readonly label: string; readonly spec: ImageSpec }[];
}

/** A guest in a folder: its data root, and below `disks/` what is mounted. Its clock is how often it was booted. */
export class FakeGuest {
  readonly dataRoot: string;
  readonly #disks: string;
  readonly #attached = new Map<string, number>();
  config: Omit<PlanInput['config'], 'prunedImages'> & Partial<PlanInput['config']> = {
    conflicts: 'user',
    removedImages: 'restore',
  };

  constructor(folder: string) {
    this.dataRoot = path.join(folder, 'docker');
    this.#disks = path.join(folder, 'disks');
  }

  diskPath(label: string): string {
    return path.join(this.#disks, label);
  }

  /** Attaches a disk that dockerd wrote, in place of one with the same label. */
  attach(
    label: string,
    images: readonly ImageSpec[],
    options: DiskOptions & { readonly rank?: number; readonly salt?: string } = {},
  ): void {
    const root = this.diskPath(label);
    rmSync(root, { recursive: true, force: true });
    loadImages(root, images, options.salt ?? label);
    for (const { spec } of options.bases ?? []) dropLayers(root, spec);
    if (options.priority !== undefined || options.bases !== undefined) {
      const bases = (options.bases ?? []).map(({ label: base, spec }) => ({
        label: base,
        manifest: `sha256:${'0'.repeat(64)}`,
        layers: factsOf(spec).chains,
      }));
      writeFile(
        path.join(root, 'docker-preloader.json'),
        JSON.stringify({
          formatVersion: '1.0',
          createdBy: 'test',
          priority: options.priority ?? 0,
          images: [],
          layers: [],
          metadata: {},
          bases,
        }),
      );
    }
    this.#attached.set(label, options.rank ?? 0);
  }

  detach(label: string): void {
    this.#attached.delete(label);
    rmSync(this.diskPath(label), { recursive: true, force: true });
  }

  plan(): Plan {
    const disks = [...this.#attached].map(([label, rank]) => ({
      content: readDisk(label, new FolderReader(this.diskPath(label))),
      rank,
    }));
    const planned = plan({
      store: new Store(this.dataRoot),
      ledger: readLedger(this.dataRoot),
      disks,
      config: { prunedImages: 'restore', ...this.config },
    });
    return { ...planned, findings: [...disks.flatMap((disk) => disk.content.findings), ...planned.findings] };
  }

  /** What docker-preloader does before dockerd starts. @param steps only so many of them, as if killed then */
  boot(steps: number = Number.POSITIVE_INFINITY): Plan {
    const planned = this.plan();
    apply(this.dataRoot, planned.steps.slice(0, steps));
    if (steps >= planned.steps.length) {
      const wrong = checkResult(new Store(this.dataRoot), planned);
      if (wrong.length > 0) throw new Error(wrong.map((finding) => finding.message).join('; '));
    }
    return planned;
  }
}

function dropLayers(root: string, spec: ImageSpec): void {
  for (const chain of factsOf(spec).chains)
    rmSync(`${root}/image/overlay2/layerdb/sha256/${chain.slice(7)}`, { recursive: true, force: true });
}

export const codesOf = (planned: Plan): string[] => planned.findings.map((finding) => finding.code);
export const messageOfCode = (planned: Plan, code: string): string =>
  must(planned.findings.find((finding) => finding.code === code)).message;

/** The configuration of a guest into which nothing has to be mounted. */
export const configOf = (guest: FakeGuest): Config => ({
  ...defaultConfig(),
  labels: [],
  dataRoot: guest.dataRoot,
  mountRoot: path.dirname(guest.diskPath('x')),
  dockerConfig: '/nonexistent/daemon.json',
});

/** As a running dockerd does: a lock on the volumes' database. */
export function runDockerd(dataRoot: string): { stop(): void } {
  mkdirSync(path.join(dataRoot, 'volumes'), { recursive: true });
  const lock = tryLockFile(path.join(dataRoot, 'volumes/metadata.db'));
  assert.ok(lock !== 'held');
  return { stop: () => lock.release() };
}
