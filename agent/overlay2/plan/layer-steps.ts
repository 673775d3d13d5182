import type { DiskLayer } from '../../disk/read-disk.ts';
import { recordFiles, TAR_SPLIT } from '../../docker/layer-db.ts';
import { linkTargetOf } from '../../docker/layer-folders.ts';
import { hasDigest, isCopyOf } from '../store/copy-tar-split.ts';
import type { Store } from '../store/store.ts';
import type { OwnLayer } from '../store/stored-layers.ts';
import { baseLower, type LinkedLayer, type LinkedLayers } from './linked-layers.ts';
import type { Step } from './steps.ts';

/**
 * The steps for our layers that are missing or different in the store. Base layers come first. For each layer, its
 * folder in overlay2/ comes before its record, which makes it known to dockerd.
 * @param synced whether everything that we wrote has reached the disk; until then, contents are compared
 */
export function layerSteps({ own }: LinkedLayers, store: Store, synced: boolean): Step[] {
  const layers = [...own.values()];
  const needsEmptyLayer = layers.some(({ lower }) => lower === baseLower) && !store.layers.hasEmptyLayer();
  return [
    ...(needsEmptyLayer ? [{ do: 'make-empty-layer' } as const] : []),
    ...layers.flatMap((layer) => [...folderSteps(layer), ...recordSteps(layer, store, synced)]),
  ];
}

function folderSteps({ source: { chain, label, diffPath }, lower, present }: LinkedLayer): Step[] {
  const { cacheId, link } = present;
  const isWhole =
    present.linkFile === link &&
    present.lower !== undefined &&
    present.committed &&
    present.linkTarget === linkTargetOf(cacheId);
  if (isWhole && present.diff === diffPath && present.lower === lower) return [];
  const replaces = isWhole && present.diff !== undefined;
  return [{ do: 'link-layer', chain, names: { cacheId, link }, diffPath, lower, label, replaces }];
}

function recordSteps({ source, present }: LinkedLayer, store: Store, synced: boolean): Step[] {
  const { chain, label, tarSplit } = source;
  const files = new Map([...recordFiles(source), ['cache-id', present.cacheId] as const]);
  const isRecorded =
    present.record !== undefined &&
    [...files].every(([name, text]) => present.record?.get(name) === text) &&
    hasTarSplit(source, present, `${store.paths.layer(chain)}/${TAR_SPLIT}`, synced);
  return isRecorded ? [] : [{ do: 'record-layer', chain, label, files, tarSplit, mend: store.layers.has(chain) }];
}

function hasTarSplit({ label, tarSplit }: DiskLayer, present: OwnLayer, path: string, synced: boolean): boolean {
  if (tarSplit === undefined) return true;
  if (present.tarSplitBytes !== tarSplit.sizeBytes) return false;
  // The copy may be from a time when its disk was not pinned. The file on the disk itself need not be what was pinned
  // either.
  if (tarSplit.digest !== undefined) return hasDigest(path, tarSplit.digest);
  return synced || isCopyOf(path, { ...tarSplit, label });
}
