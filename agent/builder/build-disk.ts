import { hexOf } from '../docker/ids.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { openArchive, type Archive } from './archive.ts';
import { collect, type CollectedLayer, type Collection } from './collect.ts';
import { DiskContent, type BaseDisk } from './disk-content.ts';
import { DiskFile } from './disk-file.ts';
import { checkLimits } from './disk-limits.ts';
import { erofs } from './erofs.ts';
import { ext4 } from './ext4.ts';
import { uuidFrom, type Filesystem } from './filesystem.ts';
import type { InputImage, Platform } from './input-image.ts';
import { printable } from './layer-tree.ts';
import type { ReadAheadList } from '../disk/read-ahead.ts';
import { makeWorkplace, type Workplace } from './output.ts';
import type { Progress } from './progress.ts';
import { readImages } from './read-images.ts';
import { runTool } from './run-tool.ts';
import { Spool } from './spool.ts';
import { unpackVerified } from './verified-layer.ts';

export interface BuildOptions {
  /** Files, folders, or `-`. */
  readonly archives: readonly string[];
  readonly output: string;
  readonly format: 'qcow2' | 'raw';
  readonly filesystem: 'ext4' | 'erofs';
  /** The filesystem's size; as needed where undefined. */
  readonly sizeBytes: number | undefined;
  /** From the content's digest where undefined. */
  readonly label: string | undefined;
  readonly priority: number;
  /** A familiar reference for the one image that has no name. */
  readonly tag: string | undefined;
  readonly platform: Platform;
  readonly compress: boolean;
  /** Layers of these disks are left out. */
  readonly bases: readonly BaseDisk[];
  /** What to read ahead of the first containers, as far as it is on the disk. */
  readonly readAhead: ReadAheadList | undefined;
}

export interface BuiltDisk {
  readonly label: string;
  readonly manifestDigest: string;
  /** The filesystem's. */
  readonly sizeBytes: number;
  readonly images: number;
  readonly layers: number;
  /** Images that no reference names. */
  readonly unnamed: readonly string[];
  /** What of the list to read ahead is on it; undefined where there was no list. */
  readonly readAhead: { readonly files: number; readonly bytes: number } | undefined;
}

const filesystems: Readonly<Record<BuildOptions['filesystem'], Filesystem>> = { ext4, erofs };

/**
 * Makes a preload disk of image archives. The output appears when it is whole; whatever else happens leaves nothing.
 * @throws PreloaderError naming archive, entry, what was expected and found
 */
export async function buildDisk(options: BuildOptions, progress: Progress): Promise<BuiltDisk> {
  const workplace = makeWorkplace(options.output);
  try {
    const collection = collect(await readAll(options, workplace, progress));
    checkLimits(collection);
    const built = await writeDisk(collection, options, workplace, progress);
    if (options.compress) {
      progress.step('compressing');
      await runTool('qemu-img', ['convert', '-c', '-f', 'qcow2', '-O', 'qcow2', workplace.path('disk'), workplace.path('compressed')]);
    }
    workplace.publish(options.compress ? 'compressed' : 'disk');
    return built;
  } catch (error) {
    // Also where it met a layer's entry: the archive is not to blame.
    if (isENOSPC(error)) throw new PreloaderError('BUILD_FAILED', `${options.output}: room for the disk beside it expected, found the filesystem full`, { cause: error });
    if (error instanceof PreloaderError) throw error;
    throw new PreloaderError('BUILD_FAILED', `${options.output}: ${messageOf(error)}`, { cause: error });
  } finally {
    progress.end();
    workplace.remove();
  }
}

async function readAll(options: BuildOptions, workplace: Workplace, progress: Progress): Promise<InputImage[]> {
  const images: InputImage[] = [];
  for (const [index, name] of options.archives.entries()) {
    progress.step(`reading ${name === '-' ? 'standard input' : name}`);
    const archive: Archive = await openArchive(name, () => workplace.path(`archive-${index}`));
    images.push(...(await readImages(archive, options.platform)));
  }
  if (options.tag === undefined) return images;
  const nameless = images.filter(({ references }) => references.length === 0);
  const [only] = nameless;
  if (only === undefined || new Set(nameless.map(({ id }) => id)).size > 1) {
    throw new PreloaderError('BUILD_FAILED', `--tag ${options.tag}: one image without a name expected, found ${nameless.length}`);
  }
  return images.map((image) => (image.id === only.id ? { ...image, references: [...image.references, options.tag ?? ''] } : image));
}

async function writeDisk(collection: Collection, options: BuildOptions, workplace: Workplace, progress: Progress): Promise<BuiltDisk> {
  const { bases, needed } = withoutBases(collection, options.bases);
  const disk = new DiskFile(workplace.path('disk'), options.format);
  const inodes = new Spool(workplace.path('inodes'));
  const tarSplit = new Spool(workplace.path('tar-split'));
  try {
    const filesystem = filesystems[options.filesystem](disk, inodes);
    const content = new DiskContent(collection, disk, filesystem, options.readAhead);
    const todo = collection.layers.filter((layer) => needed.has(layer));
    progress.expect(todo.reduce((sum, { source }) => sum + source.archive.sizeOf(source.entry), 0));
    let number = 0;
    for (const layer of collection.layers) {
      if (!needed.has(layer)) {
        content.addLayer(layer, undefined);
        continue;
      }
      progress.step(`layer ${(number += 1)} of ${todo.length}: ${hexOf(layer.diffID).slice(0, 12)} of ${layer.source.archive.name}`);
      const unpacked = await unpackVerified(layer, disk, tarSplit, (bytes) => progress.read(bytes));
      onDisk(() => content.addLayer(layer, unpacked), `${layer.source.archive.name}: entry '${printable(layer.source.entry)}': `);
    }
    progress.step('writing the filesystem');
    const { tree, manifestDigest, readAhead } = content.finish(options.priority, bases);
    const label = options.label ?? `dpl-${hexOf(manifestDigest).slice(0, 11)}`;
    const uuid = uuidFrom(`${options.filesystem} ${manifestDigest}`);
    const sizeBytes = onDisk(() => filesystem.finish(tree, { label, uuid, sizeBytes: options.sizeBytes }));
    disk.finish(sizeBytes);
    const named = new Set(collection.references.values());
    const unnamed = collection.images.filter(({ id }) => !named.has(id)).map(({ id }) => id);
    return { label, manifestDigest, sizeBytes, images: collection.images.length, layers: todo.length, unnamed, readAhead };
  } finally {
    for (const one of [disk, inodes, tarSplit]) one.close();
  }
}

/** Says what the filesystem cannot hold. @param where it came from */
function onDisk<Result>(action: () => Result, where = ''): Result {
  try {
    return action();
  } catch (error) {
    throw new PreloaderError('BUILD_FAILED', `${where}${messageOf(error)}`, { cause: error });
  }
}

/** Which layers go on the disk, and of the bases what these stand on. */
function withoutBases(collection: Collection, bases: readonly BaseDisk[]): { readonly bases: readonly BaseDisk[]; readonly needed: ReadonlySet<CollectedLayer> } {
  const needed = new Set(collection.layers);
  const used: BaseDisk[] = [];
  for (const base of bases) {
    const there = new Set(base.layers);
    const left = [...needed].filter(({ chain }) => there.has(chain));
    for (const layer of left) needed.delete(layer);
    if (left.length > 0) used.push({ ...base, layers: left.map(({ chain }) => chain).sort() });
  }
  return { bases: used, needed };
}

/** Whether the error, or what caused it, is a full filesystem. */
function isENOSPC(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return ('code' in error && error.code === 'ENOSPC') || isENOSPC(error.cause);
}
