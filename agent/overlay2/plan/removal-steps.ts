import type { ChainID, ImageID } from '../../docker/ids.ts';
import { emptyLayer, ownLayerNames } from '../../docker/layer-folders.ts';
import type { LedgerContent } from '../store/ledger.ts';
import type { Store } from '../store/store.ts';
import { foreignLinks } from './leaving-layers.ts';
import type { Step } from './steps.ts';

export interface Removed {
  readonly images: ReadonlySet<ImageID>;
  /** Each layer before what it stands on. */
  readonly layers: readonly ChainID[];
}

/** The steps that remove what goes, and with our last layer the empty one. @param content what of ours stays */
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
