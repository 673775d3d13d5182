import { closeSync, constants, openSync, rmdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { FolderReader } from '../disk/folder-reader.ts';
import { readManifest } from '../disk/manifest.ts';
import type { Finding } from '../messages/finding.ts';
import { ensureFolder } from '../system/write-files.ts';
import { unmount } from '../system/mount.ts';
import type { FoundDisk } from './discover.ts';
import { isAt, type Place } from './mount-place.ts';

/** The manifest digests of which a disk must have one. `signed` if it may have any that is signed. */
export type Pinned = readonly string[] | 'signed';

interface Digests {
  readonly pinned: Pinned;
  /** The digest of what is mounted at a path. */
  readonly read: (path: string) => string | undefined;
  readonly mount: (disk: FoundDisk, path: string) => void;
}

/**
 * Chooses one of several devices with the same label. If any has a pinned digest, or is signed, only those count. The
 * one that is already mounted is taken, whatever the others hold, because images run from it. If none is mounted, the
 * first is taken if all manifests say that the content is the same. Otherwise none is, because nobody can know which
 * one was meant.
 */
export function chooseDuplicate(
  label: string,
  candidates: readonly FoundDisk[],
  { path, there }: Place,
  { pinned, read, mount }: Digests,
  findings: Finding[],
): FoundDisk | undefined {
  const isMounted = (disk: FoundDisk): boolean => isAt(disk, there);
  const digests = new Map(
    candidates.map((disk) => [disk, isMounted(disk) ? read(path) : digestOf(disk, path, { read, mount })]),
  );
  const right = candidates.filter((disk) => isRight(digests.get(disk), pinned));
  const meant = right.length > 0 ? right : candidates;
  const first = meant.find(isMounted) ?? meant[0];
  if (first === undefined) return undefined;
  const digest = digests.get(first);
  const others = candidates.filter((disk) => disk !== first);
  const strange = others.filter((disk) => digest === undefined || digests.get(disk) !== digest);
  const names = (disks: readonly FoundDisk[]): string => disks.map((disk) => disk.device.path).join(', ');
  const found = `disk ${label}: expected one device, found ${names(candidates)} with different or unknown content`;
  if (!isMounted(first) && strange.some((disk) => meant.includes(disk))) {
    findings.push({
      code: 'LABEL_DUPLICATE',
      label,
      device: names(candidates),
      message: `${found}; all are left out: detach one, or give it another label`,
    });
    return undefined;
  }
  const merit =
    pinned === 'signed' ? 'which a trusted key has signed, is used' : 'which has the pinned digest, is used';
  const why = isMounted(first) ? 'which is mounted already, stays in use' : merit;
  if (strange.length > 0)
    findings.push({
      code: 'LABEL_DUPLICATE',
      label,
      device: names(strange),
      message: `${found}; ${first.device.path}, ${why}, ${names(strange)} left out: detach it, or give it another label`,
    });
  for (const disk of others) {
    if (!strange.includes(disk))
      findings.push({
        code: 'DISK_TWICE',
        label,
        device: disk.device.path,
        message: `disk ${label}: ${disk.device.path} is left out: it holds the same as ${first.device.path}, which is used`,
      });
  }
  return first;
}

function isRight(digest: string | undefined, pinned: Pinned): boolean {
  return digest !== undefined && (pinned === 'signed' || pinned.includes(digest));
}

/**
 * The digest of a disk's manifest, or undefined if it has no valid one. The disk is mounted for it where nobody else
 * sees it.
 */
function digestOf(disk: FoundDisk, place: string, { read, mount }: Omit<Digests, 'pinned'>): string | undefined {
  // No label begins with a dot. The daemon and docker.service's drop-in may do this at the same time.
  const path = join(dirname(place), `.duplicate-${process.pid}`);
  ensureFolder(path, 0o700);
  try {
    mount(disk, path);
    const fd = openDetached(path);
    try {
      return read(`/proc/self/fd/${fd}/.`);
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  } finally {
    rmdirSync(path);
  }
}

/** Opens what is mounted, and detaches the mount. It ends with the descriptor, even if we are killed. */
function openDetached(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } finally {
    unmount(path, true);
  }
}

export function digestOn(path: string): string | undefined {
  try {
    return readManifest(new FolderReader(path))?.digest;
  } catch {
    return undefined;
  }
}
