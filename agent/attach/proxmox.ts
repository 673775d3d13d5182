import type { AttachedDisk } from './attached-disk.ts';
import { invalid } from './attached-disk.ts';
import type { Attach } from './attachment.ts';
import { credentialString } from './credentials.ts';
import { isPlain, shellWord } from './quoting.ts';

/** virtio0 to virtio15 (qm.conf(5); qemu-server, PVE/QemuServer/Drive.pm). IDE and SATA cannot be read-only there. */
const PLACES = 16;

/** For a shell on a Proxmox host. */
export const forProxmox: Attach = ({ disks, required, first }) => {
  const lines = [
    ...disks.map((disk, index) => `qm set "$VMID" --virtio${first + index} ${shellWord(drive(disk, first + index))}`),
    ...(required === undefined
      ? []
      : [
          `qm set "$VMID" --args ${shellWord(`-smbios type=11,value=${credentialString(required).replaceAll(',', ',,')}`)}`,
        ]),
  ];
  return {
    text: `${lines.join('\n')}\n`,
    notes: [
      'these are for a shell of root on the Proxmox host, with the number of the machine in VMID',
      ...(required === undefined
        ? []
        : ['--args takes the place of what the machine has there: look first, with qm config']),
    ],
  };
};

function drive({ path, format, label }: AttachedDisk, place: number): string {
  if (place >= PLACES)
    throw invalid(
      path,
      `expected a place up to virtio${PLACES - 1}, found none left: fewer disks with more images each`,
    );
  if (path.includes(',') || !isPlain(path))
    throw invalid(
      path,
      'expected a path without commas and control characters for Proxmox, found one with them: make a link to it',
    );
  // What has `=` in it would be taken for a key and its value (pve-common, PVE/JSONSchema.pm, parse_property_string).
  const file = path.includes('=') ? `file=${path}` : path;
  return `${file},format=${format},ro=1,serial=${label},backup=0,replicate=0`;
}
