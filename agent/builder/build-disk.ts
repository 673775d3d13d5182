import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { hexOf, type DiffID } from '../docker/ids.ts';
import { isEDQUOT, isEFBIG, isENOSPC, messageOf, PreloaderError, reasonOf } from '../system/errors.ts';
import { checkBuilt } from './check-built.ts';
import { collect, namesByImage, type CollectedLayer, type Collection } from './collect.ts';
import { StoreTree, type BaseDisk, type PlacedBlob } from './store-tree.ts';
import { diskTargets } from './disk-targets.ts';
import { planBlobs, type BlobMode, type BlobPlan } from './plan-blobs.ts';
import { checkForm, copyBlob, tarBytesOf } from './archive/copy-blob.ts';
import { BLOCK_BYTES, BlockWriter, roundUp } from './filesystem/block-writer.ts';
import { checkLimits } from './check-limits.ts';
import { finishDisk, requireTools } from './finish-disk.ts';
import { erofs, erofsOfSmallBlocks } from './filesystem/erofs.ts';
import { ext4 } from './filesystem/ext4.ts';
import { uuidFrom, type Filesystem } from './filesystem/filesystem.ts';
import { printable } from '../text/printable.ts';
import type { BuildOptions } from './disk-options.ts';
import { makeWorkplace, TO_STDOUT, type Workplace } from './workplace.ts';
import { machinePlatform, platformOfConfig, type Platform } from './archive/platform.ts';
import { ImageClients } from './source/image-clients.ts';
import type { Progress } from '../text/progress.ts';
import { SourceFetcher } from './source/fetch-sources.ts';
import { checkLocked, type TakenSource } from './source/source-lock.ts';
import { readAll, refuseArchiveAsOutput } from './read-archives.ts';
import { checkSigningKey, signManifest } from './sign-manifest.ts';
import { Spool } from '../streams/spool.ts';
import { unpackVerified } from './layer/verified-layer.ts';

interface BuiltImage {
  readonly id: string;
  readonly references: readonly string[];
  readonly layers: number;
}

export interface BuiltDisk {
  readonly label: string;
  readonly manifestDigest: string;
  /** The fingerprint of the key that has signed it; undefined if none has. */
  readonly signedBy: string | undefined;
  /** Of the filesystem. */
  readonly sizeBytes: number;
  /** What its images are for; of several platforms that of the first image. */
  readonly platform: Platform;
  readonly images: readonly BuiltImage[];
  readonly layers: number;
  /** How much of the list to read ahead is on it; undefined without a list. */
  readonly readAhead: { readonly files: number; readonly bytes: number } | undefined;
  readonly blobs: BuiltBlobs;
  /** What each archive or source was. */
  readonly taken: readonly TakenSource[];
  /** Where a registry has it now, by digest; undefined where it was not pushed. */
  readonly pushed: string | undefined;
  /** What the user may not have intended, a line each: images that have no name, or that are for another platform. */
  readonly notes: readonly string[];
}

/** The layers that are also there as blobs, for containerd's store. */
interface BuiltBlobs {
  readonly mode: BlobMode;
  readonly count: number;
  readonly bytes: number;
  /** How much larger the disk is for them, without what they share with the files of the layers. */
  readonly addedBytes: number;
  /** How many uncompressed layers the mode leaves out on this filesystem. */
  readonly leftOut: number;
  /** Whether the filesystem has blocks of 512 bytes, for which a guest needs Linux 6.4, or a 6.1 with later fixes. */
  readonly smallBlocks: boolean;
}

interface WrittenBlob extends PlacedBlob {
  /** What it takes besides the files of its layer. */
  readonly addedBytes: number;
}

const filesystems: Readonly<Record<BuildOptions['filesystem'], Filesystem>> = { ext4, erofs };

/**
 * Makes a preload disk from image archives. The output appears only when it is complete; a failure leaves nothing
 * behind.
 * @throws PreloaderError naming archive, entry, what was expected and found
 */
export async function buildDisk(options: BuildOptions, progress: Progress): Promise<BuiltDisk> {
  requireTools(options);
  if (options.sign !== undefined) await checkSigningKey(options.sign);
  let fetcher: SourceFetcher | undefined;
  let clients: ImageClients | undefined;
  const beforeRemoval = (): void => {
    fetcher?.stop();
    clients?.stop();
  };
  const workplace = makeWorkplace(options.output, { dryRun: options.dryRun, beforeRemoval });
  try {
    fetcher = new SourceFetcher(options, workplace, progress);
    const { images, notes, taken } = await readAll(options, workplace, fetcher, progress);
    checkLocked(options.lock, taken);
    refuseArchiveAsOutput(options.output, images);
    const collection = collect(images);
    checkLimits(collection);
    const built = { ...(await writeDisk(collection, options, workplace, progress)), notes, taken };
    if (options.dryRun) return { ...built, pushed: undefined };
    if (options.push !== undefined)
      clients = new ImageClients(resolve(workplace.path('.')), options.access, (text) => progress.step(text));
    const { name, pushed } = await finishDisk(built, options, workplace, clients, progress);
    await workplace.publish(name);
    return { ...built, pushed };
  } catch (error) {
    // Checked first, because a full filesystem is not the fault of the archive whose entry met it.
    const full = whatIsFull(error);
    if (full !== undefined) throw noRoom(options, full, error);
    if (error instanceof PreloaderError) throw error;
    throw new PreloaderError('BUILD_FAILED', `${options.output ?? 'dry run'}: ${reasonOf(error)}`, { cause: error });
  } finally {
    progress.end();
    workplace.remove();
  }
}

async function writeDisk(
  collection: Collection,
  options: BuildOptions,
  workplace: Workplace,
  progress: Progress,
): Promise<Omit<BuiltDisk, 'notes' | 'taken' | 'pushed'>> {
  const { bases, needed } = withoutBases(collection, options.bases);
  const plan = planBlobs(collection, needed, options.blobs, options.filesystem === 'erofs');
  const chosen = plan.shared.size > 0 ? erofsOfSmallBlocks : filesystems[options.filesystem];
  const disk = new BlockWriter(
    options.dryRun ? undefined : workplace.path('disk'),
    options.format === 'raw' ? 'raw' : 'qcow2',
    chosen.maxBytes,
    chosen.blockBytes,
  );
  const inodes = new Spool(() => workplace.path('inodes'));
  const tarSplit = new Spool(() => workplace.path('tar-split'));
  try {
    const filesystem = chosen.open(disk, inodes);
    const content = new StoreTree(collection, disk, filesystem, options.readAhead);
    const todo = collection.layers.filter((layer) => needed.has(layer));
    progress.expect(todo.reduce((sum, { source }) => sum + source.archive.sizeOf(source.entry), 0));
    const tarBytes = new Map<DiffID, number>();
    const shared = new Map<DiffID, WrittenBlob>();
    let number = 0;
    for (const layer of collection.layers) {
      if (!needed.has(layer)) {
        content.addLayer(layer, undefined);
        continue;
      }
      progress.step(
        `layer ${(number += 1)} of ${todo.length}: ${hexOf(layer.diffID).slice(0, 12)} of ${layer.source.archive.name}`,
      );
      const { diffID } = layer;
      // Another chain of layers may have had the same one before.
      const before = shared.get(diffID);
      const isShared = plan.shared.has(diffID);
      const block = before?.block ?? (isShared ? disk.begin() : 0);
      const unpacked = await unpackVerified(
        layer,
        disk,
        tarSplit,
        (bytes) => progress.read(bytes),
        isShared
          ? {
              onDisk: { offset: block * disk.blockBytes, blockBytes: disk.blockBytes },
              ...(before === undefined ? { onTar: (bytes: Uint8Array) => disk.append(bytes) } : {}),
            }
          : {},
      );
      tarBytes.set(diffID, unpacked.tarBytes);
      if (isShared && before === undefined) {
        const addedBytes = roundUp(unpacked.tarBytes, disk.blockBytes) - unpacked.sharedBytes;
        shared.set(diffID, { digest: diffID, block, sizeBytes: unpacked.tarBytes, addedBytes });
      }
      onDisk(
        () => content.addLayer(layer, unpacked),
        `${layer.source.archive.name}: entry '${printable(layer.source.entry)}': `,
      );
    }
    await checkOtherForms(collection, todo, progress);
    const apart = await writeBlobs(plan, disk, progress);
    for (const { path, layers } of plan.targets)
      for (const { diffID, source } of path === undefined ? layers : []) {
        const bytes = tarBytes.get(diffID) ?? (await tarBytesOf(source));
        if (bytes !== undefined) tarBytes.set(diffID, bytes);
      }
    progress.step('writing the filesystem');
    const blobs = [...shared.values(), ...apart];
    const { tree, manifest, manifestDigest, readAhead } = content.finish(
      options.priority,
      bases,
      diskTargets(plan.targets, tarBytes),
      blobs,
    );
    // ssh-keygen may ask for a passphrase, where the line of the progress is.
    if (options.sign !== undefined) progress.end();
    const signature =
      options.sign === undefined ? undefined : await signManifest(options.sign, manifest, manifestDigest, workplace);
    if (signature !== undefined) content.addSignature(signature.text);
    const label = options.label ?? `dpl-${hexOf(manifestDigest).slice(0, 11)}`;
    const uuid = uuidFrom(`${options.filesystem} ${manifestDigest}`);
    const sizeBytes = onDisk(() => filesystem.finish(tree, { label, uuid, sizeBytes: options.sizeBytes }));
    disk.finish(sizeBytes);
    if (!options.dryRun) checkBuilt(workplace.path('disk'));
    return {
      label,
      manifestDigest,
      signedBy: signature?.fingerprint,
      sizeBytes,
      platform: platformOf(collection),
      images: describeImages(collection),
      layers: todo.length,
      readAhead,
      blobs: {
        mode: options.blobs,
        count: blobs.length,
        bytes: blobs.reduce((sum, blob) => sum + blob.sizeBytes, 0),
        addedBytes: blobs.reduce((sum, blob) => sum + blob.addedBytes, 0),
        leftOut: plan.leftOut.size,
        smallBlocks: disk.blockBytes < BLOCK_BYTES,
      },
    };
  } finally {
    for (const one of [disk, inodes, tarSplit]) one.close();
  }
}

/** Of a layer in several compressions, one is unpacked: the others are to be the same layer. */
async function checkOtherForms(
  { forms }: Collection,
  unpacked: readonly CollectedLayer[],
  progress: Progress,
): Promise<void> {
  const needed = new Set(unpacked.map(({ diffID }) => diffID));
  const seen = new Set(unpacked.map(({ diffID, source }) => `${source.stored?.digest ?? ''} ${diffID}`));
  const others = forms.filter(
    ({ diffID, source }) => needed.has(diffID) && !seen.has(`${source.stored?.digest ?? ''} ${diffID}`),
  );
  for (const [index, form] of others.entries()) {
    progress.step(`layer ${hexOf(form.diffID).slice(0, 12)} in another compression, ${index + 1} of ${others.length}`);
    await checkForm(form);
  }
}

/** Copies the blobs that take room of their own. */
async function writeBlobs({ apart }: BlobPlan, disk: BlockWriter, progress: Progress): Promise<WrittenBlob[]> {
  const written: WrittenBlob[] = [];
  for (const [index, blob] of apart.entries()) {
    progress.step(`blob ${index + 1} of ${apart.length}: ${hexOf(blob.digest).slice(0, 12)}`);
    const block = disk.begin();
    const sizeBytes = await copyBlob(blob, (bytes) => disk.append(bytes));
    disk.end();
    written.push({ digest: blob.digest, block, sizeBytes, addedBytes: roundUp(sizeBytes, disk.blockBytes) });
  }
  return written;
}

function describeImages(collection: Collection): BuiltImage[] {
  const names = namesByImage(collection);
  return collection.images.map(({ id, chains }) => ({
    id,
    references: names.get(id) ?? [],
    layers: chains.length,
  }));
}

function platformOf({ images }: Collection): Platform {
  for (const { config } of images) {
    const platform = platformOfConfig(config);
    if (platform !== undefined) return platform;
  }
  return machinePlatform();
}

function noRoom({ output, dryRun }: BuildOptions, found: string, cause: unknown): PreloaderError {
  const expected =
    dryRun || output === undefined || output === TO_STDOUT
      ? `${tmpdir()}: expected room for temporary files, found ${found}: name another folder in TMPDIR`
      : `${output}: expected room for the disk beside it, found ${found}`;
  return new PreloaderError('BUILD_FAILED', expected, { cause });
}

/** Reports what the filesystem cannot hold. @param where the archive and entry that it came from */
function onDisk<Result>(action: () => Result, where = ''): Result {
  try {
    return action();
  } catch (error) {
    throw new PreloaderError('BUILD_FAILED', `${where}${messageOf(error)}`, { cause: error });
  }
}

/** The layers that go on the disk, and those that are left out because the base disks have them. */
function withoutBases(
  collection: Collection,
  bases: readonly BaseDisk[],
): { readonly bases: readonly BaseDisk[]; readonly needed: ReadonlySet<CollectedLayer> } {
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

/** What has no more room, if that is the error or its cause; it is not the fault of what was read then. */
function whatIsFull(error: unknown): string | undefined {
  if (isENOSPC(error)) return 'the filesystem full';
  if (isEDQUOT(error)) return 'the quota used up';
  if (isEFBIG(error)) return 'a limit of the size of files (the filesystem, or ulimit -f)';
  return error instanceof Error && error.cause !== undefined ? whatIsFull(error.cause) : undefined;
}
