import type { Finding } from '../messages/finding.ts';
import { isGlob, isLabel, labelPattern } from '../config/label.ts';
import { hasNode, isVirtualDrive, listBlockDevices, type BlockDevice } from '../system/block-devices.ts';
import { messageOf } from '../system/errors.ts';
import { readSuperblock, type Superblock } from '../disk/superblock.ts';
import { isDriveEmpty, isUdevRunning, labelByUdev } from '../system/udev.ts';
import type { Config } from '../config/config.ts';

/** A device with a filesystem whose label is one of ours. */
interface BlockDisk {
  readonly label: string;
  readonly device: BlockDevice;
  readonly superblock: Superblock;
  /** Place of the label among `labels`: a higher one takes precedence. */
  readonly rank: number;
  readonly source?: undefined;
}

/**
 * A folder with what a disk has, which `sources` names. Its device is made up: the path is that of the folder, or what
 * `sources` says of a tag, and the size that of the folder's filesystem.
 */
export interface SourceDisk extends Omit<BlockDisk, 'superblock' | 'source'> {
  readonly superblock: Omit<Superblock, 'filesystem'> & { readonly filesystem: string };
  readonly source: FolderSource;
}

/** A folder of a filesystem that is mounted, or a tag under which another machine shares one. */
export type FolderSource =
  | { readonly kind: 'folder'; readonly root: string }
  | { readonly kind: 'virtiofs' | '9p'; readonly tag: string };

export type FoundDisk = BlockDisk | SourceDisk;

export interface Discovery {
  /** By label, in its order; more than one device where a label is there twice. */
  readonly disks: ReadonlyMap<string, readonly FoundDisk[]>;
  /** Disks with a label of ours that are left out. The findings say why. */
  readonly refused: readonly FoundDisk[];
  readonly findings: readonly Finding[];
  /** Named and required labels, and required globs, that no device has; and sources that are not there. */
  readonly missing: readonly string[];
}

/** How the configuration's labels are looked for. */
export interface LabelFilter {
  /** Place of the last pattern that the label matches, or -1. */
  rank(label: string): number;
  /** Whether the label is written out somewhere: only then may its device be removable. */
  isNamed(label: string): boolean;
  /** Whether any label is written out, so that removable devices are worth reading. */
  readonly hasNames: boolean;
  readonly hasGlobs: boolean;
  /** Labels and globs that must be there, in the words of the configuration. */
  readonly awaited: readonly string[];
}

/** Compiles `labels` and `required`. What is required but not among the labels ranks below all of them. */
export function labelFilter(config: Pick<Config, 'labels' | 'required'>): LabelFilter {
  const required = config.required.map(({ pattern }) => pattern);
  const entries = [...required, ...config.labels];
  const patterns = entries.map((entry) => labelPattern(entry));
  // Where a label is written out, that place counts, and not the place of a glob that it also matches.
  return {
    rank: (label) => {
      const named = config.labels.lastIndexOf(label);
      return named === -1
        ? patterns.findLastIndex((pattern) => pattern?.test(label) === true)
        : named + required.length;
    },
    isNamed: (label) => entries.includes(label),
    hasNames: entries.some((entry) => !isGlob(entry)),
    hasGlobs: entries.some(isGlob),
    awaited: [...new Set([...required, ...config.labels.filter((entry) => !isGlob(entry))])],
  };
}

/**
 * Looks at every block device once. It reads superblocks and not /dev/disk/by-label, which needs udev, and has only one
 * link where two devices carry the same label.
 * @param devices the machine's devices, for tests
 */
export function discover(filter: LabelFilter, devices: readonly BlockDevice[] = listBlockDevices()): Discovery {
  const disks = new Map<string, FoundDisk[]>();
  const refused: FoundDisk[] = [];
  const findings: Finding[] = [];
  const present = new Set<string>();
  for (const device of devices) {
    // A device with holders is used through them. One without a node cannot be opened: sysfs shows a container all
    // devices.
    if (device.holders.length > 0 || !hasNode(device)) continue;
    if (device.removable && !filter.hasNames) {
      findings.push(...passedOver(device, labelOfRemovable(device), filter));
      continue;
    }
    // To the kernel, an empty drive has a gigabyte. Each attempt to read it is some lines in its log.
    if (device.removable && isUdevRunning() && isDriveEmpty(device.deviceNumber)) continue;
    const disk = examine(device, filter, findings, present);
    if (disk === undefined) continue;
    const problem = problemOf(disk.superblock, device);
    if (problem === undefined) disks.set(disk.label, [...(disks.get(disk.label) ?? []), disk]);
    else {
      refused.push(disk);
      findings.push({ ...problem, device: device.path, ...(isLabel(disk.label) ? { label: disk.label } : {}) });
    }
  }
  const missing = filter.awaited.filter((entry) => {
    const pattern = labelPattern(entry);
    return ![...present].some((label) => pattern?.test(label));
  });
  // A device that cannot be read matters only where a disk is missed: it may be that one.
  return {
    // The kernel names devices as they come (loop10 sorts before loop9): by label, a machine tells the same at each
    // boot.
    disks: new Map([...disks].toSorted(([a], [b]) => (a < b ? -1 : 1))),
    refused,
    findings: missing.length === 0 ? findings.filter((finding) => finding.code !== 'DEVICE_UNREADABLE') : findings,
    missing,
  };
}

/** Whether two looks have found the same filesystem on the same device, as far as can be told without reading it. */
export function isSameDisk(left: FoundDisk, right: FoundDisk): boolean {
  const tell = ({ label, device, superblock }: FoundDisk): string =>
    JSON.stringify([label, device.path, device.deviceNumber, device.sizeBytes, superblock]);
  return tell(left) === tell(right);
}

function examine(
  device: BlockDevice,
  filter: LabelFilter,
  findings: Finding[],
  present: Set<string>,
): BlockDisk | undefined {
  let superblock: Superblock | undefined;
  try {
    superblock = readSuperblock(device.path);
  } catch (error) {
    findings.push({
      code: 'DEVICE_UNREADABLE',
      device: device.path,
      message: `${device.path}: its superblock cannot be read: ${messageOf(error)}`,
    });
    return undefined;
  }
  if (superblock === undefined) return undefined;
  const { label } = superblock;
  const rank = filter.rank(label);
  if (device.removable && !filter.isNamed(label)) findings.push(...passedOver(device, label, filter));
  if (rank === -1 || (device.removable && !filter.isNamed(label))) return undefined;
  // A disk that will be refused is present, too: waiting longer would not make it better.
  present.add(label);
  return { label, device, superblock, rank };
}

/** Says that a removable device which only a glob matches is left out. Nothing is missing, but somebody may wonder. */
function passedOver({ path }: BlockDevice, label: string | undefined, filter: LabelFilter): Finding[] {
  if (label === undefined || !isLabel(label) || filter.rank(label) === -1) return [];
  return [
    {
      code: 'DISK_REMOVABLE',
      label,
      device: path,
      message: `disk ${label} (${path}) is left out: the device is removable, and such a label counts only where it is written out; add "${label}" to \`labels\` if it is meant`,
    },
  ];
}

/**
 * The label of a removable device, which udev has already read. Without udev, CDs are left alone, because reading one
 * can take the seconds that its drive needs to spin up; that of a virtual machine has nothing that spins.
 */
function labelOfRemovable({ name, path, deviceNumber }: BlockDevice): string | undefined {
  if (isUdevRunning()) return labelByUdev(deviceNumber);
  try {
    return /^sr\d+$/.test(name) && !isVirtualDrive(name) ? undefined : readSuperblock(path)?.label;
  } catch {
    return undefined;
  }
}

function problemOf(superblock: Superblock, device: BlockDevice): Pick<Finding, 'code' | 'message'> | undefined {
  const { label, sizeBytes } = superblock;
  if (!isLabel(label)) {
    return {
      code: 'LABEL_INVALID',
      message: `${device.path}: label ${JSON.stringify(label)}: expected at most 16 letters, digits, dots, dashes and underscores; it is left out`,
    };
  }
  const disk = `disk ${label} (${device.path})`;
  if (superblock.dirty) {
    return {
      code: 'DISK_DIRTY',
      message: `${disk}: expected a cleanly unmounted ext4, found one with a journal to replay; run e2fsck on it where it was made`,
    };
  }
  if (sizeBytes > device.sizeBytes) {
    return {
      code: 'DISK_TRUNCATED',
      message: `${disk}: expected a device of at least ${sizeBytes} bytes, found ${device.sizeBytes}; copy the disk again`,
    };
  }
  return undefined;
}
