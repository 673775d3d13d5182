import { KEEPS_CONTENT, KEEPS_SNAPSHOT } from '../own-labels.ts';
import { blobsOf, type OfferedImage } from '../namespace-offer.ts';
import type { ContainerdRoots, Present } from '../namespace-present.ts';
import type { RefusedBlobs, Step } from './namespace-steps.ts';

/**
 * The steps for what a namespace lacks of the content of images: configurations, manifests, and links to the layers'
 * bytes.
 */
export function contentSteps(
  images: Iterable<OfferedImage>,
  {
    present,
    roots,
    refused = new Map(),
  }: {
    readonly present: Present;
    readonly roots: Pick<ContainerdRoots, 'sharesContent'>;
    readonly refused?: RefusedBlobs;
  },
): Step[] {
  const steps = new Map<string, Step>();
  const write = (digest: string, content: Buffer, labels: ReadonlyMap<string, string>): void => {
    const there = present.content.get(digest);
    if (there === undefined) {
      steps.set(digest, { do: 'write-content', digest, content, labels });
      return;
    }
    const missing = new Map([...labels].filter(([name]) => !there.labels.has(name)));
    if (missing.size > 0) steps.set(digest, { do: 'label-content', digest, labels: missing });
  };
  for (const { image, parts, disk } of images) {
    if (roots.sharesContent)
      for (const { digest, sizeBytes } of blobsOf(parts))
        if (!present.content.has(digest) && !refused.has(digest))
          steps.set(digest, { do: 'link-blob', digest, sizeBytes, disk });
    const top = image.chains.at(-1);
    write(image.id, image.config, new Map(top === undefined ? [] : [[KEEPS_SNAPSHOT, top]]));
    // Each index keeps the one below it. The manifest, which is last, keeps what is in the image.
    const kept = [
      [`${KEEPS_CONTENT}.config`, image.id],
      ...parts.layers.map(({ descriptor: { digest } }, index) => [`${KEEPS_CONTENT}.l.${index}`, digest] as const),
    ] as const;
    parts.manifests.forEach(({ descriptor: { digest }, bytes }, index, { [index + 1]: below }) => {
      write(digest, bytes, new Map(below === undefined ? kept : [[`${KEEPS_CONTENT}.m.0`, below.descriptor.digest]]));
    });
  }
  return [...steps.values()];
}
