import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** The folder below overlay2 that a store has for the topmost of these layers. */
export function layerFolder(dataRoot: string, diffIds: readonly string[]): string {
  const entry = path.join(dataRoot, 'image/overlay2/layerdb/sha256', chainId(diffIds).replace('sha256:', ''));
  return path.join(dataRoot, 'overlay2', readFileSync(path.join(entry, 'cache-id'), 'utf8').trim());
}

/** The ChainID of layers given by their diffIDs, the base first (image-spec, config.md, "Layer ChainID"). */
function chainId(diffIds: readonly string[]): string {
  return diffIds.reduce(
    (chain, diffId) =>
      chain === '' ? diffId : `sha256:${createHash('sha256').update(`${chain} ${diffId}`).digest('hex')}`,
    '',
  );
}
