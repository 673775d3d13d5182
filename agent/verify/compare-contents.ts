import type { LoadedDisk } from '../boot/loaded-disk.ts';
import type { Preload } from '../boot/preload.ts';
import { FolderReader } from '../disk/folder-reader.ts';
import { TAR_SPLIT } from '../docker/layer-db.ts';
import { overlayPaths } from '../docker/layer-folders.ts';
import type { Finding } from '../messages/finding.ts';
import { Store } from '../overlay2/store/store.ts';
import { processMs } from '../system/clock.ts';
import { stderr } from '../system/stderr.ts';
import { makeProgress } from '../text/progress.ts';
import { blobProblems } from './blob-digests.ts';
import { layerProblem } from './layer-content.ts';
import { metadataProblems } from './metadata-digests.ts';
import { ReadBudget } from './read-budget.ts';

/** A layer whose content can be compared with its digest. */
interface Place {
  readonly what: string;
  readonly label: string | undefined;
  readonly cure: string;
  readonly diffID: string;
  readonly diffPath: string;
  readonly tarSplitPath: string | undefined;
  readonly sizeBytes: number;
  readonly budget: ReadBudget | undefined;
}

const COPY_AGAIN = 'copy the disk again, or build it again';

/** Findings for the files of a disk that do not have the digests in its manifest. Without a manifest there are none. */
export function metadataFaults({ mounted, content: { label, manifest } }: LoadedDisk): Finding[] {
  if (manifest === undefined) return [];
  return metadataProblems(new FolderReader(mounted.path), manifest, new ReadBudget(mounted.device.sizeBytes)).map(
    (problem) => ({
      code: 'CONTENT_WRONG',
      label,
      device: mounted.device.path,
      message: `disk ${label}: ${problem}; ${COPY_AGAIN}`,
    }),
  );
}

/** What was compared with its digest, and what does not have it. */
export interface Comparison {
  readonly findings: readonly Finding[];
  readonly layers: number;
  readonly blobs: number;
  readonly bytes: number;
}

/**
 * Compares the content of layers and blobs with their digests: those of the disks, and of the user's layers that images
 * of the disks use.
 */
export async function compareContents(run: Preload): Promise<Comparison> {
  const places = [...run.disks.flatMap(layersOnDisk), ...usersLayers(run)];
  const blobs = run.disks.flatMap(({ content }) => content.manifest?.blobs ?? []);
  const progress = makeProgress(stderr, !stderr.isTTY, processMs);
  progress.expect([...places, ...blobs].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  const findings: Finding[] = [];
  let bytes = 0;
  const onBytes = (count: number): void => {
    bytes += count;
    progress.read(count);
  };
  try {
    for (const place of places) {
      progress.step(place.what);
      const { tarSplitPath } = place;
      const problem =
        tarSplitPath === undefined
          ? `expected a ${TAR_SPLIT}, without which its content cannot be compared, found none`
          : await layerProblem({ ...place, tarSplitPath }, onBytes);
      if (problem !== undefined)
        findings.push({
          code: 'CONTENT_WRONG',
          message: `${place.what}: ${problem}; ${place.cure}`,
          ...(place.label === undefined ? {} : { label: place.label }),
        });
    }
    for (const { mounted, content } of run.disks) {
      if (content.manifest?.blobs === undefined) continue;
      progress.step(`disk ${content.label}: blobs`);
      const budget = new ReadBudget(mounted.device.sizeBytes);
      const problems = await blobProblems(new FolderReader(mounted.path), content.manifest, budget, onBytes);
      findings.push(
        ...problems.map((problem): Finding => ({
          code: 'CONTENT_WRONG',
          label: content.label,
          device: mounted.device.path,
          message: `disk ${content.label}: ${problem}; ${COPY_AGAIN}`,
        })),
      );
    }
  } finally {
    progress.end();
  }
  return { findings, layers: places.length, blobs: blobs.length, bytes };
}

/** Includes layers that the store has from another disk, or does not have yet. */
function layersOnDisk({ mounted, content: { label, layers } }: LoadedDisk): Place[] {
  const budget = new ReadBudget(mounted.device.sizeBytes);
  return [...layers.values()].map(({ chain, diffID, diffPath, tarSplit, size }) => ({
    what: `disk ${label}: layer ${chain}`,
    label,
    cure: COPY_AGAIN,
    diffID,
    diffPath,
    tarSplitPath: tarSplit?.path,
    sizeBytes: Number(size),
    budget,
  }));
}

/** The user's own layers that preloaded images use. */
function usersLayers({ dataRoot, plan }: Preload): Place[] {
  if (dataRoot === undefined || plan === undefined) return [];
  const store = new Store(dataRoot);
  const places = new Map<string, Place>();
  for (const { chains, diffIDs } of plan.offer.images.values()) {
    chains.forEach((chain, index) => {
      const layer = store.layers.ownership(chain) === 'user' ? store.layers.users(chain) : undefined;
      if (layer === undefined) return;
      places.set(chain, {
        what: `layer ${chain} of your own`,
        label: undefined,
        cure: 'remove the images that use it, then pull or load them again',
        diffID: diffIDs[index] ?? '',
        diffPath: overlayPaths(dataRoot).link(layer.link),
        tarSplitPath: `${store.paths.layer(chain)}/${TAR_SPLIT}`,
        sizeBytes: store.layers.sizeOf(chain),
        budget: undefined,
      });
    });
  }
  return [...places.values()];
}
