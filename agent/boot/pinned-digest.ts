import { requiredDigests, type RequiredDisk } from '../config/required.ts';
import { readPinnedDisk } from '../disk/pinned-reader.ts';
import { checkTarSplit } from '../disk/read-tar-split.ts';

/**
 * A function that tells the manifest's digest of a disk with a pinned label, or undefined if the disk is not whole. It
 * reads all that the agent would use of the disk.
 */
export function pinnedDigestOn(required: readonly RequiredDisk[]): (label: string, path: string) => string | undefined {
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
