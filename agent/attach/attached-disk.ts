import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { isLabel } from '../config/label.ts';
import { PreloaderError } from '../system/errors.ts';
import { oneLine } from '../text/one-line.ts';
import { inspectDisk } from '../verify/inspect-disk.ts';

/** A disk as a hypervisor is told of it. */
export interface AttachedDisk {
  /** Absolute, since the hypervisor may run elsewhere. */
  readonly path: string;
  readonly isBlockDevice: boolean;
  readonly format: 'raw' | 'qcow2';
  readonly filesystem: string;
  /** Also its serial number, by which the guest names the device: at most 16 of the 20 bytes that there are. */
  readonly label: string;
  /** The digest of its manifest. Null if dockerd filled the disk. */
  readonly digest: string | null;
  /** Disks that have layers of this one. */
  readonly bases: readonly { readonly label: string; readonly manifest: string }[];
}

/** Disks in the order in which they were given, and what a guest would find wrong with them. */
export interface AttachedDisks {
  readonly disks: readonly AttachedDisk[];
  readonly problems: readonly string[];
}

/**
 * Reads disks, as the agent would read them, and looks for what they lack together: a base, or a label of their own.
 * @throws PreloaderError DISK_INVALID where one cannot be used at all
 */
export async function readAttachedDisks(paths: readonly string[]): Promise<AttachedDisks> {
  const disks: AttachedDisk[] = [];
  const problems: string[] = [];
  for (const path of paths) {
    const { disk, problems: found } = await readAttachedDisk(resolve(path));
    const other = disks.find(({ label }) => label === disk.label);
    if (other !== undefined)
      throw invalid(
        disk.path,
        `expected a label of its own, found ${disk.label}, as ${other.path} has it: build it again with another --label`,
      );
    disks.push(disk);
    problems.push(...found);
  }
  return { disks, problems: [...problems, ...disks.flatMap((disk) => missingBases(disk, disks))] };
}

async function readAttachedDisk(
  path: string,
): Promise<{ readonly disk: AttachedDisk; readonly problems: readonly string[] }> {
  const { format, filesystem, label, manifest, problems } = await inspectDisk(path, { deep: false });
  if (format === 'folder' || filesystem === null || label === null)
    throw invalid(path, 'expected a disk, found a folder, which no machine can attach as one');
  if (!isLabel(label))
    throw invalid(
      path,
      `expected a label of at most 16 letters, digits, dots, dashes and underscores, found ${JSON.stringify(label)}: no guest would take such a disk`,
    );
  const disk = {
    path,
    isBlockDevice: statSync(path).isBlockDevice(),
    format,
    filesystem,
    label,
    digest: manifest?.digest ?? null,
    bases: manifest?.bases ?? [],
  };
  return { disk, problems: problems.map((problem) => `${path}: ${problem}`) };
}

/** Whoever attaches a disk has to attach those that it stands on, too: each of them names its own bases. */
function missingBases({ path, bases }: AttachedDisk, disks: readonly AttachedDisk[]): string[] {
  return bases.flatMap(({ label, manifest }) => {
    const base = disks.find((disk) => disk.label === label);
    if (base === undefined)
      return [
        `${path} stands on ${oneLine(label)} (${manifest}), which is not among the disks: attach it, too, or images are left out`,
      ];
    return base.digest === manifest
      ? []
      : [
          `${path} stands on ${label} (${manifest}), but ${base.path} is ${base.digest ?? 'without a manifest'}: images may be left out`,
        ];
  });
}

/** What is wrong with a disk that was given. */
export function invalid(path: string, message: string): PreloaderError {
  return new PreloaderError('DISK_INVALID', `${path}: ${message}`);
}
