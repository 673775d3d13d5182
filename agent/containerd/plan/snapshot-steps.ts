import type { ChainID } from '../../docker/ids.ts';
import type { LinkFarm } from '../link-farm.ts';
import type { NamespaceOffer, OfferedImage } from '../namespace-offer.ts';
import type { OwnPart, Present } from '../namespace-present.ts';
import type { Step } from './namespace-steps.ts';

/** The steps for links of ours that are gone or lead elsewhere. */
export function linkSteps({ snapshots, content }: Pick<Present, 'snapshots' | 'content'>, farm: LinkFarm): Step[] {
  const mend = (own: OwnPart | undefined, target: string): Step[] =>
    own?.place.is === 'free' || (own?.place.is === 'link' && own.place.target !== target)
      ? [{ do: 'mend-link', path: own.path, target }]
      : [];
  return [
    ...[...snapshots].flatMap(([chain, { own }]) => mend(own, farm.layer(chain))),
    ...[...content].flatMap(([digest, { own }]) => mend(own, farm.blob(digest))),
  ];
}

/** The steps for layers of these images that nobody has made yet, each after the one below. */
export function snapshotSteps(
  images: Iterable<OfferedImage>,
  { snapshots }: Pick<Present, 'snapshots'>,
  offer: Pick<NamespaceOffer, 'layers'>,
): Step[] {
  const steps = new Map<ChainID, Step>();
  for (const { image } of images)
    image.chains.forEach((chain, index) => {
      if (snapshots.has(chain) || steps.has(chain)) return;
      const disk = offer.layers.get(chain) ?? image.label;
      steps.set(chain, { do: 'make-layer', chain, parent: image.chains[index - 1], disk });
    });
  return [...steps.values()];
}
