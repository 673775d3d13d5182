import { asChainID, asDiffID, sha256, type ChainID } from '../docker/ids.ts';
import { metadataPaths, type LayerRecord } from '../docker/layer-db.ts';
import { isCacheId } from '../docker/layer-folders.ts';
import { messageOf } from '../system/errors.ts';
import { plural } from '../text/plural.ts';
import type { FilesystemReader } from './filesystem-reader.ts';
import { readImageTargets, type ImageTarget } from './image-targets.ts';
import { MAX_READ_AHEAD_BYTES } from './limits.ts';
import { parseReadAhead, READ_AHEAD_NAME, type ReadAheadList } from './read-ahead-list.ts';
import { isLayerSize, readDisk, readRecord, type DiskContent } from './read-disk.ts';

/** A layer as its record has it, whatever the manifest says of it. */
export interface RecordedLayer extends LayerRecord {
  readonly cacheId: string;
}

/** A disk by itself: what the agent would use of it, and the rest. */
export interface WholeDisk {
  readonly content: DiskContent;
  /** All recorded layers, even if no image of the disk stands on them. */
  readonly layers: readonly RecordedLayer[];
  readonly readAhead: ReadAheadList | undefined;
  /** What the images are in containerd's store. */
  readonly targets: readonly ImageTarget[];
  readonly problems: readonly string[];
}

const paths = metadataPaths('');

/**
 * Reads everything on a disk: what the agent reads of it at a boot, all layers, what the disk lacks if it is used
 * alone, and the list of what to read ahead.
 * @throws PreloaderError if the agent could not use the disk as a whole
 */
export function readWholeDisk(files: FilesystemReader): WholeDisk {
  const content = readDisk('', files);
  const needed = new Set([...content.images.values()].flatMap(({ chains }) => chains));
  const problems = faultsOf(content);
  const layers = recordedLayers(files, needed, problems);
  problems.push(...missingLayers(content, layers));
  const { targets, findings } = readImageTargets(content, files);
  problems.push(...faultsOf({ findings }));
  return { content, layers, targets, readAhead: readAheadOf(files, problems), problems };
}

/** What the agent would leave out of a disk that was read without a label, in words. */
export function faultsOf({ findings }: Pick<DiskContent, 'findings'>): string[] {
  return findings.map(({ message }) => message.replace(/^disk : /, ''));
}

function recordedLayers(files: FilesystemReader, needed: ReadonlySet<ChainID>, problems: string[]): RecordedLayer[] {
  return files.list(paths.layers).flatMap((name) => {
    const chain = asChainID(`sha256:${name}`);
    // dockerd leaves folders of interrupted work here: `<chain>-<random>-removing`.
    if (chain === undefined) return [];
    const layer = recordedLayer(files, chain);
    if (layer === undefined) {
      // The agent's reader has told about those on which images stand.
      if (!needed.has(chain))
        problems.push(`layer ${chain}: expected a record with diff, cache-id and size, found a damaged one`);
      return [];
    }
    const { diffID, parent } = layer;
    if (sha256(`${parent ?? ''} ${diffID}`) !== chain && !(parent === undefined && diffID === (chain as string)))
      problems.push(`layer ${chain}: expected the ChainID of its parent and DiffID, found another`);
    return [layer];
  });
}

function recordedLayer(files: FilesystemReader, chain: ChainID): RecordedLayer | undefined {
  const whereFile: Pick<FilesystemReader, 'read'> = {
    read: (path, limitBytes) => (files.kindOf(path) === 'file' ? files.read(path, limitBytes) : undefined),
  };
  try {
    const { cacheId, size, ...record } = readRecord(whereFile, paths.layer(chain));
    const diffID = asDiffID(record.diffID);
    if (diffID === undefined || !isCacheId(cacheId) || !isLayerSize(size)) return undefined;
    return { chain, diffID, parent: asChainID(record.parent), size, cacheId };
  } catch {
    return undefined;
  }
}

/** Each image's layers must be here or on a base disk. */
function missingLayers({ images, manifest }: DiskContent, layers: readonly RecordedLayer[]): string[] {
  const there = new Set<string>(layers.map(({ chain }) => chain));
  for (const base of manifest?.bases ?? []) for (const chain of base.layers) there.add(chain);
  return [...images.values()].flatMap(({ id, chains }) => {
    const missing = chains.filter((chain) => !there.has(chain)).length;
    if (missing === 0) return [];
    return `image ${id}: ${missing} of its ${plural(chains.length, 'layer')} ${missing === 1 ? 'is' : 'are'} neither here nor on a base disk`;
  });
}

function readAheadOf(files: FilesystemReader, problems: string[]): ReadAheadList | undefined {
  try {
    const bytes = files.read(READ_AHEAD_NAME, MAX_READ_AHEAD_BYTES);
    return bytes === undefined ? undefined : parseReadAhead(bytes.toString('utf8'), READ_AHEAD_NAME);
  } catch (error) {
    const message = messageOf(error);
    problems.push(message.includes(READ_AHEAD_NAME) ? message : `${READ_AHEAD_NAME}: ${message}`);
    return undefined;
  }
}
