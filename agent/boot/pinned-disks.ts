import { readPinnedDisk } from '../disk/pinned-reader.ts';
import { checkTarSplit } from '../overlay2/copy-tar-split.ts';
import type { LoadedDisk } from './loaded-disk.ts';
import { requiredDigests, type Required } from '../config/required.ts';
import type { Step } from '../overlay2/plan/steps.ts';

/** What tells the manifest's digest of a device with a pinned label, or undefined where it is not whole: all of it is read. */
export function pinnedDigestOn(required: readonly Required[]): (label: string, path: string) => string | undefined {
  return (label, path) => {
    try {
      const { layers, manifestDigest } = readPinnedDisk(label, path, requiredDigests(required, label) ?? []);
      for (const { tarSplit } of layers.values()) if (tarSplit !== undefined) checkTarSplit({ ...tarSplit, label });
      return manifestDigest;
    } catch {
      return undefined;
    }
  };
}

export interface TarSplitsOptions {
  /** Of the plan. */
  readonly steps: readonly Step[];
  /** Whether these are about to be carried out. */
  readonly willChange: boolean;
  /** Disks of a look before this one: what was read then was compared. */
  readonly compared: readonly LoadedDisk[];
}

/**
 * Whether the tar-splits of pinned disks are what they should be, also those that the store has already. Those that are
 * about to be copied are compared then. @throws DiskFault
 */
export function checkTarSplits(pinned: readonly LoadedDisk[], { steps, willChange, compared }: TarSplitsOptions): void {
  const known = new Set(compared.map(({ content }) => content));
  const copies = new Set(
    steps.flatMap((step) => (step.do === 'record-layer' && step.tarSplit !== undefined ? [step.tarSplit] : [])),
  );
  for (const { mounted, content } of pinned) {
    if (mounted.isUnlinked === true) continue;
    for (const { label, tarSplit } of content.layers.values()) {
      if (tarSplit !== undefined && (copies.has(tarSplit) ? !willChange : !known.has(content)))
        checkTarSplit({ ...tarSplit, label });
    }
  }
}
