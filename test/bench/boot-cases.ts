/** What is to be measured: a machine's disks and store, and who has to be ready on it. */
export interface BootCase {
  readonly group: 'base' | 'disks' | 'layers' | 'images' | 'user' | 'pinned' | 'cold' | 'memory' | 'load';
  readonly name: string;
  readonly disks: number;
  readonly images: number;
  readonly layers: number;
  readonly userLayers: number;
  /** All programs, their configuration and disks without page cache, and throttled. */
  readonly isCold: boolean;
  /** How far the kernel reads ahead of a cold device; undefined for what it does by itself. */
  readonly readAheadKb?: number | undefined;
  readonly rivals: readonly RivalName[];
}

export type RivalName =
  | 'agent'
  | 'agent, second boot'
  | 'agent, pinned'
  | 'agent, signed'
  | 'agent, apply'
  | 'agent, nothing to do'
  | 'whole agent'
  | 'agent after READY'
  | 'recipe of 2018'
  | 'recipe by layers'
  | 'floor in C'
  | 'tar zstd'
  | 'tar lz4'
  | 'docker load'
  | 'bare Bun'
  | 'bare Node';

/** All but `load`, whose disk is of another kind. */
export const groups = [
  'base',
  'disks',
  'layers',
  'images',
  'user',
  'pinned',
  'cold',
  'memory',
  'load',
] as const satisfies readonly BootCase['group'][];

export function bootCases(chosen: readonly string[], isQuick: boolean): BootCase[] {
  const sizes: { readonly [Group in 'disks' | 'layers' | 'images']: readonly number[] } = isQuick
    ? { disks: [1, 8, 16], layers: [1, 60, 125], images: [1, 100] }
    : { disks: [1, 2, 4, 8, 16, 32], layers: [1, 25, 50, 100, 125], images: [1, 10, 100, 500] };
  const one = { disks: 1, images: 1, layers: 12, userLayers: 0, isCold: false };
  const growing: readonly RivalName[] = ['agent', 'whole agent', 'recipe of 2018', 'floor in C'];
  const all: readonly BootCase[] = [
    {
      ...one,
      group: 'base',
      name: '1 disk of 12 layers',
      rivals: [
        'agent',
        'agent, second boot',
        'agent, apply',
        'agent, nothing to do',
        'whole agent',
        'recipe of 2018',
        'recipe by layers',
        'tar zstd',
        'tar lz4',
        'floor in C',
        'bare Bun',
        'bare Node',
      ],
    },
    ...sizes.disks.map((disks): BootCase => ({
      ...one,
      group: 'disks',
      name: `${disks} disks of 12 layers`,
      disks,
      rivals: disks === 8 ? [...growing, 'recipe by layers'] : growing,
    })),
    ...sizes.layers.map((layers): BootCase => ({
      ...one,
      group: 'layers',
      name: `1 disk of ${layers} layers`,
      layers,
      rivals: growing,
    })),
    ...sizes.images.map((images): BootCase => ({
      ...one,
      group: 'images',
      name: `1 disk of ${images} images`,
      images,
      layers: 2,
      rivals: growing,
    })),
    { ...one, group: 'user', name: '12 layers, none of the user', rivals: ['agent'] },
    {
      ...one,
      group: 'user',
      name: '12 layers, 2,000 of the user',
      userLayers: 2000,
      rivals: ['agent', 'recipe of 2018'],
    },
    ...[{ disks: 1 }, { disks: 8 }, { disks: 1, images: isQuick ? 100 : 500, layers: 2 }].map((size): BootCase => {
      const { disks, images, layers } = { ...one, ...size };
      return {
        ...one,
        ...size,
        group: 'pinned',
        name: `pinned: ${disks} × ${images} × ${layers} layers`,
        rivals: ['agent', 'agent, pinned', 'agent, signed'],
      };
    }),
    {
      ...one,
      group: 'pinned',
      name: 'pinned, cold: 1 disk of 12 layers',
      isCold: true,
      readAheadKb: 128,
      rivals: ['agent, pinned', 'agent, signed'],
    },
    ...([128, undefined] as const).map((readAheadKb): BootCase => ({
      ...one,
      group: 'cold',
      name: `1 disk of 12 layers, cold, read-ahead ${readAheadKb === undefined ? "the kernel's own" : `${readAheadKb} kB`}`,
      isCold: true,
      readAheadKb,
      rivals: [
        'agent',
        'agent, second boot',
        'agent, nothing to do',
        'whole agent',
        'recipe of 2018',
        'floor in C',
        'bare Bun',
        'bare Node',
      ],
    })),
    { ...one, group: 'memory', name: 'memory after READY', rivals: ['agent after READY'] },
    { ...one, group: 'load', name: '1 image of 850 MB', rivals: ['agent', 'docker load', 'tar zstd', 'tar lz4'] },
  ];
  return all.filter(({ group }) => chosen.includes(group));
}
