import type { Config } from '../config/config.ts';
import { requiredDigests } from '../config/required.ts';
import { readPinnedDisk } from '../disk/pinned-reader.ts';
import { checkTarSplit } from '../disk/read-tar-split.ts';
import { readSignedDisk } from '../disk/signed-disk.ts';

/**
 * A function that gives the digest of a disk's manifest, if the disk has the pinned content or is signed, and is whole.
 * Otherwise it gives undefined. It reads all that the agent would use of the disk.
 */
export function pinnedDigestOn({
  required,
  trustedKeys,
}: Pick<Config, 'required' | 'trustedKeys'>): (label: string, path: string) => string | undefined {
  return (label, path) => {
    try {
      const digests = requiredDigests(required, label);
      const { layers, manifestDigest } =
        trustedKeys === undefined
          ? readPinnedDisk(label, path, digests ?? [])
          : readSignedDisk(label, path, trustedKeys, digests);
      for (const { tarSplit } of layers.values()) if (tarSplit !== undefined) checkTarSplit({ ...tarSplit, label });
      return manifestDigest;
    } catch {
      return undefined;
    }
  };
}
