import type { Manifest } from '../disk/manifest.ts';
import { isLabel } from '../config/label.ts';
import { sizeOfList } from '../disk/read-ahead-list.ts';
import { readWholeDisk, type RecordedLayer, type WholeDisk } from '../disk/read-whole-disk.ts';
import { metadataPaths, TAR_SPLIT } from '../docker/layer-db.ts';
import { overlayPaths } from '../docker/layer-folders.ts';
import { signerOf } from '../disk/manifest-signer.ts';
import { isENOENT, messageOf, noSuchFile, PreloaderError, reasonOf, shownPath } from '../system/errors.ts';
import { plural } from '../text/plural.ts';
import { filesBelow, type FilesystemReader } from '../disk/filesystem-reader.ts';
import { blobProblems } from './blob-digests.ts';
import { contentProblem } from './layer-content.ts';
import { metadataProblems } from './metadata-digests.ts';
import { openDisk, type OpenDisk } from '../disk/open-disk.ts';
import { ReadBudget } from './read-budget.ts';

interface InspectedLayer {
  readonly chainId: string;
  readonly diffId: string;
  readonly parent: string | null;
  readonly cacheId: string;
  readonly sizeBytes: number;
  /** How many of the disk's images use it. */
  readonly usedBy: number;
}

interface InspectedImage {
  readonly id: string;
  readonly references: readonly string[];
  /** ChainIDs, base first, including those on base disks. */
  readonly layers: readonly string[];
  /** The size of those of its layers that are on this disk. */
  readonly sizeBytes: number;
  /** What it is in containerd's store; none where the disk has no manifest of it. */
  readonly targets: readonly InspectedTarget[];
}

interface InspectedTarget {
  /** `docker images` shows it as the ID. */
  readonly digest: string;
  /** The tags that lead to it. */
  readonly references: readonly string[];
  /** The digest of each layer's blob that is on this disk, base first; null where there is none. */
  readonly blobs: readonly (string | null)[];
}

/** What is on a disk. `inspect --json` prints this. */
export interface Inspection {
  readonly format: 'raw' | 'qcow2' | 'folder';
  readonly filesystem: string | null;
  readonly label: string | null;
  readonly uuid: string | null;
  readonly sizeBytes: number | null;
  /** Null if dockerd filled the disk, as in 2018. */
  readonly manifest: {
    readonly digest: string;
    readonly formatVersion: string;
    readonly createdBy: string;
    readonly priority: number;
    readonly bases: Manifest['bases'];
  } | null;
  /** Who has signed the manifest, whoever trusts that key. Null if nobody has, or if the signature is not valid. */
  readonly signature: { readonly fingerprint: string; readonly key: string } | null;
  readonly images: readonly InspectedImage[];
  readonly layers: readonly InspectedLayer[];
  /** What is read ahead after READY. Null if the disk has no list of it. */
  readonly readAhead: { readonly files: number; readonly bytes: number } | null;
  /** Layers as blobs, for containerd's store. */
  readonly blobs: { readonly count: number; readonly bytes: number };
  /** Bytes of layers that more than one image stands on. */
  readonly sharedBytes: number;
  /** Whether contents were compared with their digests. */
  readonly deep: boolean;
  readonly problems: readonly string[];
}

interface InspectOptions {
  /** Compares every layer's bytes with its DiffID, blobs with their digests, and all metadata with the manifest. */
  readonly deep: boolean;
  /** Compares all metadata with the manifest, also where it is not deep. */
  readonly metadata?: boolean;
  /** One of these must have signed the disk; then all metadata is compared, too. In base64. */
  readonly trustedKeys?: readonly string[];
  readonly onStep?: (text: string) => void;
}

/**
 * Reads what is on a disk: a raw image, qcow2 or block device without mounting it, or a folder where it is mounted.
 * @throws PreloaderError where it is no preload disk
 */
export async function inspectDisk(
  path: string,
  { deep, metadata = deep, trustedKeys, onStep = () => undefined }: InspectOptions,
): Promise<Inspection> {
  try {
    const disk = openDisk(path);
    const cut = cutOff(disk);
    try {
      const whole = readWholeDisk(disk.files);
      const problems = [...whole.problems, ...deviceProblems(disk)];
      const { signature, problems: faults } = signatureOf(disk.files, whole, trustedKeys);
      problems.push(...faults);
      const budget = new ReadBudget(disk.storedBytes);
      if (deep) problems.push(...(await layerProblems(disk, whole, budget, onStep)));
      const { manifest } = whole.content;
      if (manifest !== undefined && (metadata || trustedKeys !== undefined))
        problems.push(...metadataProblems(disk.files, manifest, budget));
      if (deep) problems.push(...(await blobContentProblems(disk, whole, budget, onStep)));
      return { ...describeDisk(disk), signature, ...describeContent(whole), deep, problems };
    } catch (error) {
      // Something failed because a part of the disk is missing. That it was cut off is the better reason.
      throw cut === undefined ? error : new Error(cut, { cause: error });
    } finally {
      disk.files.close();
    }
  } catch (error) {
    if (isENOENT(error))
      throw new PreloaderError('DISK_INVALID', `${shownPath(path)}: expected a disk, found ${noSuchFile(path)}`, {
        cause: error,
      });
    if (error instanceof PreloaderError && error.code === 'FORMAT_NEWER') throw error;
    throw new PreloaderError('DISK_INVALID', `${path}: ${reasonOf(error)}`, { cause: error });
  }
}

function describeDisk({
  format,
  superblock,
}: OpenDisk): Pick<Inspection, 'format' | 'filesystem' | 'label' | 'uuid' | 'sizeBytes'> {
  return {
    format,
    filesystem: superblock?.filesystem ?? null,
    label: superblock?.label ?? null,
    uuid: superblock?.uuid ?? null,
    sizeBytes: superblock?.sizeBytes ?? null,
  };
}

function describeContent({
  content,
  layers: recorded,
  readAhead,
  targets,
}: WholeDisk): Pick<Inspection, 'manifest' | 'images' | 'layers' | 'readAhead' | 'blobs' | 'sharedBytes'> {
  const { manifest, manifestDigest, images, references } = content;
  const names = Map.groupBy(references, ([, id]) => id);
  const usedBy = new Map<string, number>();
  for (const { chains } of images.values())
    for (const chain of new Set(chains)) usedBy.set(chain, (usedBy.get(chain) ?? 0) + 1);
  const layers = recorded.map(({ chain, diffID, parent, cacheId, size }): InspectedLayer => {
    const uses = usedBy.get(chain) ?? 0;
    return { chainId: chain, diffId: diffID, parent: parent ?? null, cacheId, sizeBytes: Number(size), usedBy: uses };
  });
  const sizes = new Map(layers.map(({ chainId, sizeBytes }) => [chainId, sizeBytes]));
  const blobs = manifest?.blobs ?? [];
  const targetsOf = Map.groupBy(
    targets.filter(({ isMade }) => !isMade),
    ({ image }) => image,
  );
  return {
    manifest:
      manifest === undefined
        ? null
        : {
            digest: manifestDigest ?? '',
            formatVersion: manifest.formatVersion,
            createdBy: manifest.createdBy,
            priority: manifest.priority,
            bases: manifest.bases,
          },
    images: [...images].map(([id, { chains }]) => ({
      id,
      references: (names.get(id) ?? []).map(([reference]) => reference).sort(),
      layers: chains,
      sizeBytes: chains.reduce((sum, chain) => sum + (sizes.get(chain) ?? 0), 0),
      targets: (targetsOf.get(id) ?? []).map((one) => ({
        digest: one.target.digest,
        references: one.references,
        blobs: one.layers.map(({ descriptor, blobPath }) => (blobPath === undefined ? null : descriptor.digest)),
      })),
    })),
    layers,
    readAhead: readAhead === undefined ? null : sizeOfList(readAhead),
    blobs: { count: blobs.length, bytes: blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) },
    sharedBytes: layers.reduce((sum, { usedBy: uses, sizeBytes }) => sum + (uses > 1 ? sizeBytes : 0), 0),
  };
}

/** The other reasons for which the agent leaves a disk out (boot/discover.ts). */
function deviceProblems({ superblock, sizeBytes }: OpenDisk): string[] {
  if (superblock === undefined) return [];
  const problems: string[] = [];
  if (!isLabel(superblock.label))
    problems.push(
      `label ${JSON.stringify(superblock.label)}: expected at most 16 letters, digits, dots, dashes and underscores; the agent leaves such a disk out`,
    );
  if (superblock.dirty) problems.push('the filesystem was not unmounted cleanly: the agent refuses such a disk');
  const cut = cutOff({ superblock, sizeBytes });
  return cut === undefined ? problems : [...problems, cut];
}

/** Says that a disk is shorter than its filesystem. Undefined if it is not. */
function cutOff({ superblock, sizeBytes }: Pick<OpenDisk, 'superblock' | 'sizeBytes'>): string | undefined {
  return superblock !== undefined && superblock.sizeBytes > sizeBytes
    ? `it is cut off: expected a disk of at least ${superblock.sizeBytes} bytes, found ${sizeBytes}: copy the disk again`
    : undefined;
}

/** Who has signed a disk, and why that is not enough. */
function signatureOf(
  files: FilesystemReader,
  { content: { manifestDigest } }: WholeDisk,
  trustedKeys: readonly string[] | undefined,
): { readonly signature: Inspection['signature']; readonly problems: readonly string[] } {
  try {
    const signer = manifestDigest === undefined ? undefined : signerOf(files, manifestDigest);
    const signature = signer ?? null;
    if (trustedKeys === undefined || (signer !== undefined && trustedKeys.includes(signer.key)))
      return { signature, problems: [] };
    const found = signer === undefined ? 'no signature' : `one by ${signer.fingerprint}`;
    return { signature, problems: [`expected a signature by a key of --trusted-key, found ${found}`] };
  } catch (error) {
    return { signature: null, problems: [messageOf(error)] };
  }
}

/** Says which layers do not have the content that they should have. */
async function layerProblems(
  { files }: OpenDisk,
  { layers }: WholeDisk,
  budget: ReadBudget,
  onStep: (text: string) => void,
): Promise<string[]> {
  const problems: string[] = [];
  for (const layer of layers) {
    onStep(`layer ${layer.chain}`);
    const problem = await layerContentProblem(files, layer, budget);
    if (problem !== undefined) problems.push(`layer ${layer.chain}: ${problem}`);
  }
  return problems;
}

/** Says which blobs do not have the content that they should have. */
async function blobContentProblems(
  { files }: OpenDisk,
  { content: { manifest } }: WholeDisk,
  budget: ReadBudget,
  onStep: (text: string) => void,
): Promise<string[]> {
  if (manifest?.blobs === undefined) return [];
  onStep(plural(manifest.blobs.length, 'blob'));
  return blobProblems(files, manifest, budget);
}

function layerContentProblem(
  files: FilesystemReader,
  { chain, diffID, cacheId }: RecordedLayer,
  budget: ReadBudget,
): Promise<string | undefined> {
  const record = filesBelow(files, metadataPaths('').layer(chain));
  const content = filesBelow(files, `${overlayPaths('').layer(cacheId)}/diff`);
  return contentProblem(diffID, record, TAR_SPLIT, content, budget);
}
