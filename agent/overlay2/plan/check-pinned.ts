import type { DiskContent } from '../../disk/read-disk.ts';
import { checkTarSplit } from '../../disk/read-tar-split.ts';
import type { Step } from './steps.ts';

export interface PinnedOptions {
  /** Whether the steps are about to be carried out. */
  readonly willChange: boolean;
  /** Disks that an earlier look has read. Their tar-splits were compared then. */
  readonly compared: ReadonlySet<DiskContent>;
}

/**
 * Compares the tar-splits of pinned disks with their digests, even where the store already has a copy. Those that are
 * about to be copied are left out, because copying compares them.
 * @throws DiskFault
 */
export function checkPinned(
  disks: readonly DiskContent[],
  steps: readonly Step[],
  { willChange, compared }: PinnedOptions,
): void {
  const copies = new Set(
    steps.flatMap((step) => (step.do === 'record-layer' && step.tarSplit !== undefined ? [step.tarSplit] : [])),
  );
  for (const disk of disks) {
    for (const { label, tarSplit } of disk.layers.values()) {
      if (tarSplit !== undefined && (copies.has(tarSplit) ? !willChange : !compared.has(disk)))
        checkTarSplit({ ...tarSplit, label });
    }
  }
}
