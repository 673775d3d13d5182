import { statSync } from 'node:fs';
import type { Finding } from '../messages/finding.ts';
import type { ChainID } from '../docker/ids.ts';
import { ownLayerNames, overlayPaths } from '../docker/layer-folders.ts';
import type { Store } from './store/store.ts';
import type { LedgerContent } from './store/ledger.ts';

/** What was planned to be in the store. */
export interface Expected {
  readonly content: LedgerContent;
  /** Layers that stay although their disk is gone. */
  readonly kept: ReadonlyMap<ChainID, unknown>;
  readonly pinned: ReadonlySet<ChainID>;
}

/**
 * Looks at the store as dockerd will. Each planned layer must have a record, and a link to a folder with its files.
 * Each reference must be in repositories.json, its image in the image store, and each pin in its place.
 * @param store read after the last change
 */
export function checkResult(store: Store, expected: Expected): Finding[] {
  return resultProblems(store, expected).map((problem) => ({
    code: 'RESULT_WRONG',
    message: `after applying: ${problem}`,
  }));
}

/** @returns what is wrong, a line each */
export function resultProblems(store: Store, { content, kept, pinned }: Expected): string[] {
  const overlay = overlayPaths(store.dataRoot);
  const problems: string[] = [];
  for (const chain of content.layers.keys()) {
    if (kept.has(chain)) continue;
    if (store.layers.ownership(chain) !== 'ours') problems.push(`layer ${chain} has no record`);
    else if (statSync(overlay.link(ownLayerNames(chain).link), { throwIfNoEntry: false })?.isDirectory() !== true)
      problems.push(`the files of layer ${chain} are not there`);
  }
  for (const id of content.images.keys()) if (!store.images.has(id)) problems.push(`image ${id} is not there`);
  for (const [reference, id] of content.references)
    if (store.referenceStore.references.get(reference) !== id) problems.push(`${reference} does not name ${id}`);
  for (const chain of pinned)
    if (!store.mounts.hasPin(chain, false)) problems.push(`the pin of layer ${chain} is not there`);
  return problems;
}
