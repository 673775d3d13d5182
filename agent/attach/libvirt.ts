import type { AttachedDisk } from './attached-disk.ts';
import type { Attach } from './attachment.ts';
import { credentialString } from './credentials.ts';
import { xmlText } from './quoting.ts';

/**
 * For the XML of a libvirt domain: what to put into the elements of these names. `shareable` is not about writing,
 * since the disk is read-only, but tells lock managers that others have it, too.
 */
export const forLibvirt: Attach = ({ disks, required, first }) => {
  const lines = [
    '<domain>',
    ...(required === undefined
      ? []
      : [
          '  <os>',
          "    <smbios mode='sysinfo'/>",
          '  </os>',
          "  <sysinfo type='smbios'>",
          '    <oemStrings>',
          `      <entry>${credentialString(required)}</entry>`,
          '    </oemStrings>',
          '  </sysinfo>',
        ]),
    '  <devices>',
    ...disks.flatMap((disk, index) => diskElement(disk, `vd${letters(first + index)}`)),
    '  </devices>',
    '</domain>',
  ];
  return { text: `${lines.join('\n')}\n`, notes: [] };
};

function diskElement(disk: AttachedDisk, target: string): readonly string[] {
  const [type, source] = disk.isBlockDevice ? (['block', 'dev'] as const) : (['file', 'file'] as const);
  return [
    `    <disk type='${type}' device='disk'>`,
    `      <driver name='qemu' type='${disk.format}'/>`,
    `      <source ${source}='${xmlText(disk, disk.path)}'/>`,
    `      <target dev='${target}' bus='virtio'/>`,
    `      <serial>${disk.label}</serial>`,
    '      <readonly/>',
    '      <shareable/>',
    '    </disk>',
  ];
}

/** As disks are named: a to z, then aa (Linux, drivers/scsi/sd.c, sd_format_disk_name). */
function letters(index: number): string {
  const last = String.fromCharCode(97 + (index % 26));
  return index < 26 ? last : `${letters(Math.floor(index / 26) - 1)}${last}`;
}
