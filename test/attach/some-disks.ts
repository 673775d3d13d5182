import type { AttachedDisk } from '../../agent/attach/attached-disk.ts';
import type { Attachment } from '../../agent/attach/attachment.ts';
import { hypervisors } from '../../agent/attach/hypervisors.ts';

/** A disk as `attach` has read it. */
export function aDisk(label: string, more: Partial<AttachedDisk> = {}): AttachedDisk {
  return {
    path: `/srv/${label}.qcow2`,
    isBlockDevice: false,
    format: 'qcow2',
    filesystem: 'ext4',
    label,
    digest: `sha256:${'d'.repeat(64)}`,
    bases: [],
    ...more,
  };
}

/** So many disks, dpl-0 and on. */
export const manyDisks = (count: number): AttachedDisk[] =>
  Array.from({ length: count }, (_, index) => aDisk(`dpl-${index}`, { path: `/srv/${index}.raw`, format: 'raw' }));

/** What is printed for a hypervisor. */
export function made(
  hypervisor: string,
  disks: readonly AttachedDisk[],
  more: { readonly required?: string; readonly first?: number } = {},
): Attachment {
  const make = hypervisors[hypervisor];
  if (make === undefined) throw new Error(`expected a hypervisor, found ${hypervisor}`);
  return make({ disks, required: more.required, first: more.first ?? 1 });
}
