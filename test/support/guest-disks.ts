import { createHash } from 'node:crypto';
import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { cached } from './cache.ts';
import { ensureDebianPackages } from './debian-packages.ts';
import { dockerArchive } from './docker-archive.ts';
import { startDockerd } from './dockerd.ts';
import { busyboxRoot } from './images.ts';
import { makeLegacyDisk } from './legacy-disk.ts';

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
export const manyLabels: readonly string[] = Array.from({ length: 28 }, (_, index) => `dpl-${String(index + 1).padStart(2, '0')}`);
const labels: readonly string[] = ['dpl-a', 'dpl-b', 'late-disk', ...manyLabels];

/** Ends in the middle of its filesystem, as a copy that was cut off does. */
export const truncatedLabel = 'dpl-truncated';
/** Holds a repositories.json that is no JSON. */
export const garbledLabel = 'dpl-garbled';

/**
 * Makes the disks that the guest tests attach, once, with a private dockerd and without the agent's own builder.
 */
export async function guestDisks(): Promise<GuestDisks> {
  const recipe = JSON.stringify([labels, truncatedLabel, garbledLabel, makeDisks.toString(), keepOnly.toString()]);
  const folder = await cached(`guest-disks-${createHash('sha256').update(recipe).digest('hex').slice(0, 12)}`, makeDisks);
  return (label) => ({ label, image: tagOf(label), raw: path.join(folder, `${label}.raw`), qcow2: path.join(folder, `${label}.qcow2`) });
}

function tagOf(label: string): string {
  return `image-${label}:1`;
}

async function makeDisks(folder: string): Promise<void> {
  await ensureDebianPackages(['qemu-utils', 'e2fsprogs'], { install: true });
  const dataRoot = path.join(folder, 'data');
  const base = await busyboxRoot();
  const dockerd = await startDockerd({ version: '26.1', dataRoot });
  await dockerd.cli(['load'], await dockerArchive(labels.map((label) =>
    ({ tags: [tagOf(label)], layers: [base, [{ name: 'name', content: `${tagOf(label)}\n` }]] }))));
  await dockerd.stop();

  const make = async (label: string, image: string, change?: (root: string) => Promise<void>): Promise<void> => {
    const raw = path.join(folder, `${label}.raw`);
    await makeLegacyDisk(dataRoot, raw, {
      label,
      change: async (root) => {
        await keepOnly(root, tagOf(image));
        await change?.(root);
      },
    });
    if (label === truncatedLabel) await truncate(raw, 2 * 1024 * 1024);
    await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path.join(folder, `${label}.qcow2`)]);
  };
  for (const label of labels) await make(label, label);
  await make(truncatedLabel, 'dpl-01');
  await make(garbledLabel, 'dpl-01', async (root) => writeFile(path.join(root, 'image/overlay2/repositories.json'), '{"Repositories":'));
  await rm(dataRoot, { recursive: true, force: true });
}

/** Removes everything from a copy of a data root but one image and its layers. */
async function keepOnly(root: string, tag: string): Promise<void> {
  const metadata = path.join(root, 'image/overlay2');
  const repositories = JSON.parse(await readFile(path.join(metadata, 'repositories.json'), 'utf8')) as { Repositories: Record<string, Record<string, string>> };
  const name = tag.slice(0, tag.lastIndexOf(':'));
  const id = repositories.Repositories[name]?.[tag];
  if (id === undefined) throw new Error(`Expected ${tag} in the data root of the private dockerd`);
  await writeFile(path.join(metadata, 'repositories.json'), JSON.stringify({ Repositories: { [name]: { [tag]: id } } }));

  const content = path.join(metadata, 'imagedb/content/sha256');
  for (const image of await readdir(content)) if (`sha256:${image}` !== id) await rm(path.join(content, image));
  const { rootfs } = JSON.parse(await readFile(path.join(content, id.slice('sha256:'.length)), 'utf8')) as { rootfs: { diff_ids: string[] } };
  const chains: string[] = [];
  for (const diff of rootfs.diff_ids) {
    const parent = chains.at(-1);
    // ChainID: opencontainers/image-spec, config.md.
    chains.push(parent === undefined ? diff : `sha256:${createHash('sha256').update(`${parent} ${diff}`).digest('hex')}`);
  }
  const layerdb = path.join(metadata, 'layerdb/sha256');
  for (const chain of await readdir(layerdb)) {
    if (chains.includes(`sha256:${chain}`)) continue;
    const cacheId = await readFile(path.join(layerdb, chain, 'cache-id'), 'utf8');
    const link = await readFile(path.join(root, 'overlay2', cacheId, 'link'), 'utf8');
    for (const gone of [path.join(layerdb, chain), path.join(root, 'overlay2', cacheId), path.join(root, 'overlay2/l', link)]) {
      await rm(gone, { recursive: true });
    }
  }
}
