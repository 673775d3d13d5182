import { statSync } from 'node:fs';
import type { Finding } from '../disk/finding.ts';
import type { ChainID } from '../docker/ids.ts';
import { ownLayerNames, overlayPaths } from '../docker/overlay2.ts';
import type { Store } from '../docker/store.ts';
import type { LedgerContent } from './ledger.ts';

/**
 * Looks at the store as dockerd will: each layer that was planned must lead through its link to a folder with its files,
 * and have a record; each reference must be in repositories.json and its image in the image store.
 * @param store as it was read after the last change
 * @param exempt layers that stay without their disk
 */
export function checkResult(store: Store, content: LedgerContent, exempt: ReadonlyMap<ChainID, unknown> = new Map()): Finding[] {
  return resultProblems(store, content, exempt).map((problem) => ({ code: 'RESULT_WRONG', message: `after applying: ${problem}` }));
}

/** @returns what is wrong, a line each */
export function resultProblems(store: Store, content: LedgerContent, exempt: ReadonlyMap<ChainID, unknown>): string[] {
  const overlay = overlayPaths(store.dataRoot);
  const problems: string[] = [];
  for (const chain of content.layers.keys()) {
    if (exempt.has(chain)) continue;
    if (store.ownership(chain) !== 'ours') problems.push(`layer ${chain} has no record`);
    else if (statSync(overlay.link(ownLayerNames(chain).link), { throwIfNoEntry: false })?.isDirectory() !== true) problems.push(`the files of layer ${chain} are not there`);
  }
  for (const id of content.images.keys()) if (!store.images.has(id)) problems.push(`image ${id} is not there`);
  for (const [reference, id] of content.references) if (store.referenceStore.references.get(reference) !== id) problems.push(`${reference} does not name ${id}`);
  return problems;
}
