import type { AttachedDisk } from './attached-disk.ts';
import { invalid } from './attached-disk.ts';
import type { Attach } from './attachment.ts';
import { commalessString } from './credentials.ts';
import { isPlain, shellLines } from './quoting.ts';

/** A PCI segment has 32 slots (cloud-hypervisor, pci/src/bus.rs), of which the machine's own devices have some. */
const SLOTS = 24;
/** Segments that a machine can have (vmm/src/config.rs, MAX_NUM_PCI_SEGMENTS). */
const SEGMENTS = 96;

/** For the command line of Cloud Hypervisor. */
export const forCloudHypervisor: Attach = ({ disks, required }) => {
  const segments = Math.ceil(disks.length / SLOTS);
  const surplus = disks[SLOTS * SEGMENTS];
  if (surplus !== undefined)
    throw invalid(
      surplus.path,
      `expected at most ${SLOTS * SEGMENTS} disks, for which there are slots, found ${disks.length}`,
    );
  const platform = [
    ...(segments > 1 ? [`num_pci_segments=${segments}`] : []),
    // Each comma would end a string, whatever is around it (option_parser, StringList).
    ...(required === undefined ? [] : [`oem_strings=[${commalessString(required)}]`]),
  ].join(',');
  const words = [
    ...(platform === '' ? [] : ['--platform', platform]),
    '--disk',
    ...disks.map((disk, index) => parameters(disk, Math.floor(index / SLOTS))),
  ];
  return {
    text: shellLines(words),
    arguments: words,
    notes: platform === '' ? [] : ['--platform can be given once: put this into yours, if you have one'],
  };
};

function parameters({ path, format, label }: AttachedDisk, segment: number): string {
  if (!isPlain(path))
    throw invalid(
      path,
      'expected a path without control characters for Cloud Hypervisor, found some: make a link to it',
    );
  // Between quotes only a quote is special, and is written twice (option_parser, split_commas and dequote).
  const name = /[",[\]]|^\s|\s$/.test(path) ? `"${path.replaceAll('"', '""')}"` : path;
  return `path=${name},readonly=on,serial=${label},image_type=${format}${segment === 0 ? '' : `,pci_segment=${segment}`}`;
}
