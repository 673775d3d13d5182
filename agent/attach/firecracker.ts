import type { AttachedDisk } from './attached-disk.ts';
import { invalid } from './attached-disk.ts';
import type { Attach } from './attachment.ts';
import { kernelWord } from './credentials.ts';
import { distinct } from './distinct.ts';

/** With --enable-pci, a bus has 32 slots, of which the bridge and the root disk take one each. */
const PLACES = 30;
/**
 * Without it, each device takes one of 19 interrupts (firecracker, src/vmm/src/arch/x86_64/layout.rs, GSI_LEGACY_NUM).
 */
const INTERRUPTS = 16;
/** The same file, CMDLINE_MAX_SIZE: of the whole command line. */
const COMMAND_LINE_BYTES = 2048;

/** For the file that Firecracker takes as --config-file: what to add to yours. */
export const forFirecracker: Attach = ({ disks, required }) => {
  const surplus = disks[PLACES];
  if (surplus !== undefined)
    throw invalid(surplus.path, `expected at most ${PLACES} disks beside the root, found ${disks.length}`);
  const word = required === undefined ? undefined : kernelWord(required);
  const [firstDisk] = disks;
  if (word !== undefined && firstDisk !== undefined && word.length > COMMAND_LINE_BYTES)
    throw invalid(
      firstDisk.path,
      `expected \`required\` to fit into a command line of ${COMMAND_LINE_BYTES} bytes, found ${word.length}: name fewer disks, or leave out their digests`,
    );
  const ids = distinct(
    disks.map(({ label }) => `preload_${label.replaceAll(/[^A-Za-z0-9]/g, '_')}`),
    '_',
  );
  const document = {
    ...(word === undefined ? {} : { 'boot-source': { boot_args: word } }),
    drives: disks.map((disk, index) => drive(disk, ids[index] ?? '')),
  };
  return {
    text: `${JSON.stringify(document, undefined, 2)}\n`,
    notes: [
      'Firecracker gives disks serial numbers of its own: the guest finds these by their labels alone',
      ...(disks.length > INTERRUPTS
        ? [`for more than ${INTERRUPTS} disks, Firecracker has to be started with --enable-pci`]
        : []),
      ...(word === undefined ? [] : ['boot_args are to be added to those that your machine has']),
    ],
  };
};

function drive({ path, format }: AttachedDisk, id: string): Readonly<Record<string, unknown>> {
  if (format !== 'raw')
    throw invalid(
      path,
      'expected a raw image, as Firecracker reads no other, found a qcow2: build -o x.raw, or qemu-img convert -O raw',
    );
  return { drive_id: id, path_on_host: path, is_root_device: false, is_read_only: true };
}
