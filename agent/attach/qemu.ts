import type { AttachedDisk } from './attached-disk.ts';
import { invalid } from './attached-disk.ts';
import type { Attach } from './attachment.ts';
import { credentialString } from './credentials.ts';
import { plainJson, shellLines } from './quoting.ts';

/** A disk takes one of the 32 slots of a PCI bus, of which the machine's own devices have some. */
const SLOTS = 16;
/** Targets of one virtio-scsi (QEMU, hw/scsi/virtio-scsi.c, VIRTIO_SCSI_MAX_TARGET). */
const TARGETS = 256;

/** For the command line of QEMU. */
export const forQemu: Attach = (wanted) => {
  const words = qemuArguments(wanted.disks, wanted.required);
  return { text: shellLines(words), arguments: words, notes: manyNotes(wanted.disks) };
};

/** Where a device goes on its bus, as more properties of it. */
type Place = (index: number) => string;

/**
 * Its arguments, which libvirt passes on, too.
 * @param place by default, each device takes the first place that is free when QEMU makes it
 */
export function qemuArguments(
  disks: readonly AttachedDisk[],
  required: string | undefined,
  place: Place = () => '',
): readonly string[] {
  const surplus = disks[TARGETS];
  if (surplus !== undefined)
    throw invalid(
      surplus.path,
      `expected at most ${TARGETS} disks, for which a controller has room, found ${disks.length}`,
    );
  const isScsi = disks.length > SLOTS;
  return [
    ...(isScsi ? ['-device', `virtio-scsi-pci,id=preload${place(0)}`] : []),
    ...disks.flatMap((disk, index) => {
      const node = `preload-${disk.label}`;
      const device = isScsi ? `scsi-hd,bus=preload.0,scsi-id=${index}` : `virtio-blk-pci${place(index)}`;
      return [
        '-blockdev',
        // As JSON, since a comma in a name would end it otherwise.
        plainJson({
          driver: disk.format,
          'node-name': node,
          'read-only': true,
          file: { driver: disk.isBlockDevice ? 'host_device' : 'file', filename: disk.path, 'read-only': true },
        }),
        '-device',
        `${device},drive=${node},serial=${disk.label}`,
      ];
    }),
    // In a value, a comma is written twice (QEMU, util/keyval.c and qemu-option.c, get_opt_value).
    ...(required === undefined ? [] : ['-smbios', `type=11,value=${credentialString(required).replaceAll(',', ',,')}`]),
  ];
}

/** What the guest needs for many disks. */
export function manyNotes(disks: readonly AttachedDisk[]): string[] {
  return disks.length > SLOTS
    ? [
        `more than ${SLOTS} disks are on one SCSI controller, for which the guest needs the modules virtio_scsi and sd_mod`,
      ]
    : [];
}
