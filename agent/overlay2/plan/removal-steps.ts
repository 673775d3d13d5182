import type { ChainID, ImageID } from '../../docker/ids.ts';
import { emptyLayer, ownLayerNames } from '../../docker/layer-folders.ts';
import type { LedgerContent } from '../store/ledger.ts';
import type { Store } from '../store/store.ts';
import { foreignLinks } from './leaving-layers.ts';
import type { Step } from './steps.ts';

export interface Removed {
  readonly images: ReadonlySet<ImageID>;
  /** Each before what it stands on. */
  readonly layers: readonly ChainID[];
}

/** Takes out what goes, and the empty layer with the last of ours. @param content what of ours stays */
export function removalSteps({ images, layers }: Removed, store: Store, content: LedgerContent): Step[] {
  const isEmptyLayerUseless =
    content.layers.size === 0 &&
    store.layers.hasTraceOfEmptyLayer() &&
    !foreignLinks(store, layers).has(emptyLayer.link);
  return [
    ...[...images].map((id): Step => ({ do: 'remove-image', id })),
    ...layers.map((chain): Step => ({ do: 'remove-layer', chain, names: ownLayerNames(chain) })),
    ...(isEmptyLayerUseless ? [{ do: 'remove-empty-layer' } as const] : []),
  ];
}
