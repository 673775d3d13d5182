import type { FoundDisk } from '../boot/discover.ts';
import type { LoadedDisk } from '../boot/loaded-disk.ts';
import type { Preload } from '../boot/preload.ts';
import type { ChainID } from '../docker/ids.ts';
import { effectOf, type Finding } from '../messages/finding.ts';
import type { Code } from '../messages/codes.ts';
import { oneLine } from '../text/one-line.ts';
import { isPendingFor } from './pending.ts';
import type { DiskStatus } from './schema.ts';
import { runFailure } from './summary.ts';

/** Findings about a disk that is not attached, or no longer. */
const ABSENT: Partial<Record<Code, DiskStatus['state']>> = {
  DISK_MISSING: 'missing',
  REQUIRED_MISSING: 'missing',
  DISK_LOST: 'lost',
  KEPT: 'missing',
};

/** Every disk: those in use, those that were left out, and those that should be attached. */
export function diskStatuses(run: Preload): DiskStatus[] {
  const loaded = new Set(run.disks.map((disk) => disk.mounted.device.path));
  const left = run.candidates.filter((disk) => !loaded.has(disk.device.path));
  const labels = new Set([...run.disks.map((disk) => disk.content.label), ...left.map((disk) => disk.label)]);
  const absent = run.findings.filter(
    (finding) => ABSENT[finding.code] !== undefined && finding.label !== undefined && !labels.has(finding.label),
  );
  // A missing required disk may also be named in `labels`, or be needed by layers that are kept. It gets only one
  // entry.
  const once = absent.filter((finding, index) => absent.findIndex((other) => other.label === finding.label) === index);
  return [
    ...run.disks.map((disk) => loadedDisk(run, disk)),
    ...left.map((disk) => leftOutDisk(run, disk)),
    ...once.map(absentDisk),
  ];
}

function loadedDisk(run: Preload, { mounted, content }: LoadedDisk): DiskStatus {
  let layerBytes = 0;
  for (const layer of content.layers.values()) layerBytes += Number(layer.size);
  const isUnused = (run.plan === undefined && run.containerd === undefined) || runFailure(run) !== undefined;
  // If two devices have its label, a finding may be about the other one.
  const isIts = ({ device = mounted.device.path }: Finding): boolean => device === mounted.device.path;
  const fault =
    run.findings.find((finding) => finding.label === content.label && isIts(finding) && effectOf(finding) !== 'none') ??
    (isUnused ? runFailure(run) : undefined);
  return {
    label: content.label,
    device: mounted.device.path,
    filesystem: mounted.superblock.filesystem,
    sizeBytes: mounted.device.sizeBytes,
    mountPoint: mounted.isUnlinked === true ? null : mounted.path,
    images: content.images.size,
    layers: content.layers.size,
    layerBytes,
    manifestDigest: content.manifestDigest ?? null,
    signedBy: content.signedBy ?? null,
    state: isUnused ? 'unused' : isPendingFor(run, content) ? 'pending' : 'in-use',
    adopted: mounted.adopted,
    sharedLayers: countShared(run, { content }),
    error: errorOf(fault),
  };
}

/** How many layers of the disk the store has from elsewhere: from the user or from another disk. */
function countShared(run: Preload, { content }: Pick<LoadedDisk, 'content'>): number {
  const { plan, containerd } = run;
  const isUsers = (chain: ChainID): boolean =>
    plan?.sharedWithUser.has(chain) === true ||
    containerd?.plans.some(({ sharedWithUser }) => sharedWithUser.has(chain)) === true;
  return [...content.layers.keys()].filter(
    (chain) => isUsers(chain) || (plan?.content.layers.get(chain) ?? content.label) !== content.label,
  ).length;
}

function leftOutDisk({ findings }: Preload, { label, device, superblock }: FoundDisk): DiskStatus {
  // A finding about duplicates names all devices, one about a failed mount names the first.
  const fault =
    findings.find((finding) => finding.device === device.path) ??
    findings.find((finding) => finding.label === label && effectOf(finding) !== 'none');
  return {
    ...nothing,
    label: oneLine(label),
    device: device.path,
    filesystem: superblock.filesystem,
    sizeBytes: device.sizeBytes,
    state: 'refused',
    error: errorOf(fault),
  };
}

function absentDisk(finding: Finding): DiskStatus {
  return { ...nothing, label: finding.label ?? '', state: ABSENT[finding.code] ?? 'missing', error: errorOf(finding) };
}

const nothing = {
  device: null,
  filesystem: null,
  sizeBytes: null,
  mountPoint: null,
  images: 0,
  layers: 0,
  layerBytes: 0,
  manifestDigest: null,
  signedBy: null,
  adopted: false,
  sharedLayers: 0,
} as const satisfies Partial<DiskStatus>;

function errorOf(finding: Finding | undefined): DiskStatus['error'] {
  return finding === undefined ? null : { code: finding.code, message: finding.message };
}
