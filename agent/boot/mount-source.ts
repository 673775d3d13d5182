import { bindReadOnly, holdFolder, mountTag } from '../system/folder-mount.ts';
import type { SourceDisk } from './discover.ts';

/**
 * Mounts a folder of `sources` where disks are mounted.
 * @throws Error if another folder has taken its place, and system errors
 */
export function mountSource({ source, device, superblock }: SourceDisk, path: string): void {
  if (source.kind !== 'folder') mountTag(source.kind, source.tag, path);
  else
    holdFolder(device.path, (folder) => {
      if (String(folder.inode) !== superblock.uuid)
        throw new Error(`expected the folder that was found, found another in its place; run it again`);
      bindReadOnly(folder, path);
    });
}
