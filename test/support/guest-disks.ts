import { createHash } from 'node:crypto';
import { globSync, readFileSync } from 'node:fs';
import { rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { agent } from './agent.ts';
import { cached } from './cache.ts';
import { ensureDebianPackages } from './debian-packages.ts';
import { dockerArchive } from './docker-archive.ts';
import { busyboxRoot } from './images.ts';
import { toQcow2 } from './qemu.ts';

const root = path.resolve(import.meta.dirname, '../..');

/** A preload disk with one image of two layers; the lower one, busybox, is the same on all disks. */
export interface GuestDisk {
  readonly label: string;
  /** Its tag; a container of it finds that in /name. */
  readonly image: string;
  /** A raw image of the filesystem. */
  readonly raw: string;
  /** The same as qcow2. */
  readonly qcow2: string;
}

/** The disk of a label: image `dpl-a` has the tag `image-dpl-a:1`. */
export type GuestDisks = (label: string) => GuestDisk;

/** `dpl-01` to `dpl-28` fill a machine up to thirty disks, `late-disk` is no `dpl-*`, the last two are broken. */
export const manyLabels: readonly string[] = Array.from(
  { length: 28 },
  (_, index) => `dpl-${String(index + 1).padStart(2, '0')}`,
);
const labels: readonly string[] = ['dpl-a', 'dpl-b', 'late-disk', ...manyLabels];

/** Has a list of what to read ahead: the file that its container reads. */
const listedLabel = 'dpl-b';
/** Ends in the middle of its filesystem, as a copy that was cut off does. */
export const truncatedLabel = 'dpl-truncated';
/** Holds a repositories.json that is no JSON. */
export const garbledLabel = 'dpl-garbled';

/** Makes the disks that the guest tests attach, once for each version of the builder. */
export async function guestDisks(): Promise<GuestDisks> {
  const sources = globSync('agent/{builder,disk,docker}/*.ts', { cwd: root })
    .toSorted()
    .map((name) => readFileSync(path.join(root, name)));
  const recipe = createHash('sha256').update(
    JSON.stringify([labels, listedLabel, truncatedLabel, garbledLabel, makeDisks.toString(), listOfName.toString()]),
  );
  for (const source of sources) recipe.update(source);
  const folder = await cached(`guest-disks-${recipe.digest('hex').slice(0, 12)}`, makeDisks);
  return (label) => ({
    label,
    image: tagOf(label),
    raw: path.join(folder, `${label}.raw`),
    qcow2: path.join(folder, `${label}.qcow2`),
  });
}

function tagOf(label: string): string {
  return `image-${label}:1`;
}

async function makeDisks(folder: string): Promise<void> {
  await ensureDebianPackages(['qemu-utils', 'e2fsprogs'], { install: true });
  const base = await busyboxRoot();
  const make = async (label: string, image: string, change?: (raw: string) => Promise<void>): Promise<void> => {
    const [archive, raw, qcow2] = ['tar', 'raw', 'qcow2'].map((kind) => path.join(folder, `${label}.${kind}`)) as [
      string,
      string,
      string,
    ];
    await writeFile(
      archive,
      await dockerArchive([{ tags: [tagOf(image)], layers: [base, [{ name: 'name', content: `${tagOf(image)}\n` }]] }]),
    );
    const build = async (...args: readonly string[]): Promise<void> => {
      const { exitCode, all } = await agent([
        'build',
        archive,
        '-o',
        raw,
        '--format',
        'raw',
        '--label',
        label,
        ...args,
      ]);
      if (exitCode !== 0) throw new Error(`Expected \`build\` to make ${raw}, got:\n${all}`);
    };
    await build();
    if (label === listedLabel) await build('--read-ahead', await listOfName(raw, path.join(folder, 'list.json')));
    await change?.(raw);
    await toQcow2(raw, qcow2);
    await rm(archive);
  };
  for (const label of labels) await make(label, label);
  await make(truncatedLabel, 'dpl-01', (raw) => truncate(raw, 2 * 1024 * 1024));
  await make(garbledLabel, 'dpl-01', async (raw) => {
    const [name, garbled] = ['image/overlay2/repositories.json', path.join(folder, 'garbled.json')];
    await writeFile(garbled, '{"Repositories":');
    for (const request of [`rm ${name}`, `write ${garbled} ${name}`])
      await execa('debugfs', ['-w', '-R', request, raw]);
    await rm(garbled);
  });
}

/** Lists the file /name of a disk's image. @returns the list */
async function listOfName(disk: string, list: string): Promise<string> {
  const { layers } = JSON.parse((await agent(['inspect', '--json', disk])).stdout) as {
    layers: readonly { chainId: string }[];
  };
  const files = [{ path: 'name', pieces: [{ offset: 0, length: 4096 }] }];
  await writeFile(
    list,
    JSON.stringify({ formatVersion: '1.0', layers: layers.map(({ chainId }) => ({ chainId, files })) }),
  );
  return list;
}
