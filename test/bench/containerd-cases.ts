import type { DockerdVersion } from '../support/dockerd-version.ts';

/** What is to be measured: a containerd, disks, and who has to have their images listed there. */
export interface ContainerdCase {
  readonly group: 'load' | 'layers' | 'images' | 'idle' | 'docker' | 'cold';
  readonly name: string;
  /** The dockerd that containerd came with. */
  readonly version: ContainerdVersion;
  /** Of small ones; undefined for the large image. */
  readonly images: number | undefined;
  readonly layers: number;
  /** All programs, the archive and the disk without page cache, and throttled. */
  readonly isCold: boolean;
  /** How far the kernel reads ahead of a cold device; undefined for what it does by itself. */
  readonly readAheadKb?: number | undefined;
  readonly rivals: readonly ContainerdRival[];
}

export type ContainerdVersion = Exclude<DockerdVersion, '20.10'>;

/**
 * `agent`: `apply --only containerd` where nothing is mounted yet; `agent after run`: where the daemon has mounted the
 * disks before, as at a boot: if cold, containerd starts at READY and is filled as soon as it answers; the second boot
 * and `agent again`: with nothing to do.
 */
export type ContainerdRival =
  | 'agent'
  | 'agent after run'
  | 'agent, second boot'
  | 'agent again'
  | 'bare client'
  | 'bare Bun'
  | 'docker load'
  | 'ctr images import'
  | 'dockerd'
  | 'agent, then dockerd';

export const containerdGroups = [
  'load',
  'layers',
  'images',
  'idle',
  'docker',
  'cold',
] as const satisfies readonly ContainerdCase['group'][];
export const containerdVersions: readonly ContainerdVersion[] = ['28.5', '26.1'];

/** How many small layers and images there are, for the lines. */
const SIZES = { layers: [12, 24, 48, 96], images: [10, 20, 40, 80] } as const;

export function containerdCases(
  chosen: readonly ContainerdCase['group'][],
  versions: readonly ContainerdVersion[],
): ContainerdCase[] {
  const all = versions.flatMap((version): ContainerdCase[] => {
    const large = { version, images: undefined, layers: 12, isCold: false };
    const small = { version, images: 1, layers: 12, isCold: false };
    return [
      {
        ...large,
        group: 'load',
        name: `${version}: 12 layers, 850 MB`,
        rivals: ['agent', 'agent after run', 'docker load', 'ctr images import'],
      },
      ...SIZES.layers.map((layers): ContainerdCase => ({
        ...small,
        group: 'layers',
        name: `${version}: 1 image of ${layers} layers`,
        layers,
        rivals: ['agent after run', 'bare client'],
      })),
      ...SIZES.images.map((images): ContainerdCase => ({
        ...small,
        group: 'images',
        name: `${version}: ${images} images`,
        images,
        layers: 2,
        rivals: ['agent after run', 'bare client'],
      })),
      ...[large, { ...small, images: 80, layers: 2 }].map((size): ContainerdCase => ({
        ...size,
        group: 'idle',
        name: `${version}: nothing to do, ${size.images === undefined ? '12 layers, 850 MB' : '80 images'}`,
        rivals: ['agent, second boot', 'agent again', 'bare Bun'],
      })),
      {
        ...large,
        group: 'docker',
        name: `${version}: Docker's start`,
        rivals: ['dockerd', 'agent, then dockerd'],
      },
      ...([128, undefined] as const).map((readAheadKb): ContainerdCase => ({
        ...large,
        group: 'cold',
        name: `${version}: 12 layers, 850 MB, cold, read-ahead ${readAheadKb === undefined ? "the kernel's own" : `${readAheadKb} kB`}`,
        isCold: true,
        readAheadKb,
        rivals: ['agent', 'agent after run', 'docker load', 'ctr images import', 'bare Bun'],
      })),
    ];
  });
  return all.filter(({ group }) => chosen.includes(group));
}
