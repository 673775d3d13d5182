import { discover, labelFilter } from '../boot/discover.ts';
import type { Config } from '../config/config.ts';
import { messageOf } from '../system/errors.ts';
import { readMounts, type MountPoint } from '../system/mount.ts';
import type { BootDocument, MountFacts } from './boot-document.ts';
import { mountUnit } from './mount-unit.ts';

/** Mounts on which the order of a boot depends, and the attached disks. */
interface RelevantMounts {
  readonly mounts: readonly Omit<MountFacts, 'activeEnterUsec' | 'fragmentPath'>[];
  readonly disks: readonly Omit<BootDocument['disks'][number], 'udevUsec'>[];
}

/**
 * The mount that the data root is on, the mount of each disk, and disks that are mounted where dockerd would unmount
 * them.
 */
export function relevantMounts(config: Config, dataRoot: string, notes: string[]): RelevantMounts {
  const found = readMounts('1');
  const disks = preloadDisks(config, found, notes);
  const isDisk = new Set(disks.map(({ deviceNumber }) => deviceNumber));
  const as =
    (kind: MountFacts['kind']) =>
    ({ path, deviceNumber }: MountPoint) => ({ kind, path, deviceNumber, unit: mountUnit(path) });
  const holds = (path: string): boolean => path === '/' || dataRoot === path || dataRoot.startsWith(`${path}/`);
  // Of several mounts on top of each other, the last one is visible.
  const [holder] = found
    .filter(({ path }) => holds(path))
    .toReversed()
    .toSorted((left, right) => right.path.length - left.path.length);
  return {
    disks,
    mounts: [
      ...(holder === undefined ? [] : [as('data-root')(holder)]),
      ...found.filter(({ path }) => path.startsWith(`${config.mountRoot}/`)).map(as('disk')),
      ...found
        .filter(({ path, deviceNumber }) => path.startsWith(`${dataRoot}/`) && isDisk.has(deviceNumber))
        .map(as('below-data-root')),
    ],
  };
}

/** The attached disks. If devices cannot be read without root, those that are mounted. */
function preloadDisks(config: Config, mounts: readonly MountPoint[], notes: string[]): RelevantMounts['disks'] {
  try {
    const { disks } = discover(labelFilter(config));
    const found = [...disks.values()]
      .flat()
      .map(({ label, device }) => ({ label, device: device.path, deviceNumber: device.deviceNumber }));
    if (found.length > 0) return found;
    if (process.geteuid?.() !== 0) notes.push('disks that are mounted elsewhere: only root can read their devices');
  } catch (error) {
    notes.push(`devices could not be read: ${messageOf(error)}`);
  }
  return mounts
    .filter(({ path }) => path.startsWith(`${config.mountRoot}/`))
    .map(({ path, deviceNumber }) => ({
      label: path.slice(config.mountRoot.length + 1),
      device: `device ${deviceNumber}`,
      deviceNumber,
    }));
}
