import { KEEPS_CONTENT, KEEPS_SNAPSHOT } from './own-labels.ts';
import type { OfferedImage } from './offer.ts';
import type { ContainerdRoots, Present } from './present.ts';
import type { Step } from './steps.ts';

/** What a namespace lacks of the content of images: configurations, manifests, and links to the layers' bytes. */
export function contentSteps(
  images: Iterable<OfferedImage>,
  { present, roots }: { readonly present: Present; readonly roots: Pick<ContainerdRoots, 'sharesContent'> },
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
  for (const { image, manifest, blobs } of images) {
    if (roots.sharesContent)
      for (const [digest, { sizeBytes }] of blobs)
        if (!present.content.has(digest)) steps.set(digest, { do: 'link-blob', digest, sizeBytes });
    const top = image.chains.at(-1);
    write(image.id, image.config, new Map(top === undefined ? [] : [[KEEPS_SNAPSHOT, top]]));
    write(
      manifest.digest,
      manifest.bytes,
      new Map([
        [`${KEEPS_CONTENT}.config`, image.id],
        ...manifest.layers.map((digest, index) => [`${KEEPS_CONTENT}.l.${index}`, digest] as const),
      ]),
    );
  }
  return [...steps.values()];
}
