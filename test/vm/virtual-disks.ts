import path from 'node:path';
import { madeDisk } from '../containerd/real/disks.ts';
import { toQcow2, type VirtualDisk } from '../support/qemu.ts';
import { tempTree } from '../support/temp-tree.ts';

/** Disks with blobs, as qcow2. @param names of their recipes @param prefix of their serial numbers, before the name */
export async function virtualDisks(names: readonly string[], prefix: string): Promise<readonly VirtualDisk[]> {
  const { path: folder } = await tempTree('dpl-vm-disks');
  return Promise.all(
    names.map(async (name) => {
      const file = path.join(folder, `${name}.qcow2`);
      await toQcow2((await madeDisk(name)).gzip, file);
      return { id: `${prefix}${name}`, file };
    }),
  );
}
