import { sha256 } from '../docker/ids.ts';
import { PreloaderError } from '../system/errors.ts';
import { FolderReader } from './folder-reader.ts';
import { readManifestBytes } from './manifest.ts';
import { SIGNATURE_NAME, signerOf } from './manifest-signer.ts';
import { readPinnedDisk } from './pinned-reader.ts';
import type { DiskContent } from './read-disk.ts';

/**
 * Reads a disk whose manifest one of the keys must have signed. What the manifest says is then held as for a pinned
 * disk.
 * @param trustedKeys in base64
 * @param digests if the disk is pinned as well
 * @throws PreloaderError DISK_UNSIGNED, SIGNATURE_INVALID, SIGNATURE_UNTRUSTED, and as `readPinnedDisk`
 */
export function readSignedDisk(
  label: string,
  root: string,
  trustedKeys: readonly string[],
  digests?: readonly string[],
): DiskContent {
  const files = new FolderReader(root);
  const bytes = readManifestBytes(files);
  const wanted = 'expected a disk that one of the `trustedKeys` has signed, found one';
  if (bytes === undefined) throw new PreloaderError('DISK_UNSIGNED', `${wanted} without a manifest`);
  const digest = sha256(bytes);
  const signer = signerOf(files, digest);
  if (signer === undefined) throw new PreloaderError('DISK_UNSIGNED', `${wanted} without ${SIGNATURE_NAME}`);
  if (!trustedKeys.includes(signer.key))
    throw new PreloaderError('SIGNATURE_UNTRUSTED', `${wanted} that the key ${signer.fingerprint} has signed`);
  return {
    ...readPinnedDisk(label, root, digests ?? [digest], { bytes, digest }),
    signedBy: signer.fingerprint,
  };
}
