import type { ChainID, DiffID, ImageID } from '../docker/ids.ts';
import { fullName, repositoryOf } from '../docker/reference.ts';
import { PreloaderError } from '../system/errors.ts';
import type { InputImage, LayerForm, LayerSource, RegistryManifest } from './archive/input-image.ts';

interface CollectedImage {
  readonly id: ImageID;
  readonly config: Buffer;
  readonly diffIDs: readonly DiffID[];
  readonly chains: readonly ChainID[];
  readonly parent: ImageID | undefined;
  /** The manifests that its archives have of it, each with the tags that lead to it there, by the target's digest. */
  readonly targets: ReadonlyMap<string, CollectedTarget>;
}

interface CollectedTarget {
  readonly references: ReadonlySet<string>;
  /** The outermost index first, the manifest last. */
  readonly path: readonly RegistryManifest[];
}

export interface CollectedLayer {
  readonly chain: ChainID;
  readonly diffID: DiffID;
  readonly parent: ChainID | undefined;
  readonly source: LayerSource;
}

/** Everything in the archives, each thing once, in an order that does not depend on the order of the archives. */
export interface Collection {
  readonly images: readonly CollectedImage[];
  /** Parents before their children. */
  readonly layers: readonly CollectedLayer[];
  readonly references: ReadonlyMap<string, ImageID>;
  readonly manifests: readonly RegistryManifest[];
  /** The DiffID of the layer in a registry's blob, by the blob's digest. */
  readonly blobs: ReadonlyMap<string, DiffID>;
  /** Where registries have a layer, as `<repository> <digest>`, by DiffID. */
  readonly origins: ReadonlyMap<DiffID, ReadonlySet<string>>;
  /** Where compressed layers are found, by their digests. */
  readonly compressed: ReadonlyMap<string, LayerSource>;
  /** Each compressed form of each layer, once; one and the same blob may be told to be several layers. */
  readonly forms: readonly LayerForm[];
}

/** @throws PreloaderError if two images claim the same tag */
export function collect(inputs: readonly InputImage[]): Collection {
  const images = new Map<ImageID, CollectedImage>();
  const layers = new Map<ChainID, CollectedLayer>();
  const references = new Map<string, ImageID>();
  const manifests = new Map<string, RegistryManifest>();
  const blobs = new Map<string, DiffID>();
  const origins = new Map<DiffID, Set<string>>();
  const compressed = new Map<string, LayerSource>();
  const forms = new Map<string, LayerForm>();
  const targets = new Map<ImageID, Map<string, { readonly path: CollectedTarget['path']; references: Set<string> }>>();
  for (const input of inputs.toSorted((a, b) => compare(a.id, b.id))) {
    const { id, config, diffIDs, chains } = input;
    const known = targets.get(id) ?? new Map<string, { path: CollectedTarget['path']; references: Set<string> }>();
    targets.set(id, known);
    const [top] = input.manifests;
    if (top !== undefined) {
      const target = known.get(top.digest) ?? { path: input.manifests, references: new Set<string>() };
      for (const reference of input.references) target.references.add(reference);
      known.set(top.digest, target);
    }
    // Another archive may have the image without its parent, or with another parent that has the same history.
    const parent = [images.get(id)?.parent, input.parent].flatMap((one) => one ?? []).sort(compare)[0];
    images.set(id, { id, config, diffIDs, chains, parent, targets: known });
    input.sources.forEach((source, index) => {
      const chain = chains[index];
      const diffID = diffIDs[index];
      if (source.stored?.digest !== undefined) compressed.set(source.stored.digest, source);
      if (chain === undefined || diffID === undefined) return;
      if (source.stored?.digest !== undefined) forms.set(`${source.stored.digest} ${diffID}`, { diffID, source });
      const there = layers.get(chain);
      if (there === undefined) layers.set(chain, { chain, diffID, parent: chains[index - 1], source });
      else if (isBetter(source, there.source)) layers.set(chain, { ...there, source });
    });
    for (const reference of input.references) claim(references, reference, id);
    addRegistryFacts(input, references, manifests, blobs, origins);
  }
  return {
    images: [...images.values()],
    layers: [...layers.values()],
    references: new Map([...references].sort(([a], [b]) => compare(a, b))),
    manifests: [...manifests.values()].sort((a, b) => compare(a.digest, b.digest)),
    blobs: new Map([...blobs].sort(([a], [b]) => compare(a, b))),
    origins,
    compressed,
    forms: [...forms].sort(([a], [b]) => compare(a, b)).map(([, form]) => form),
  };
}

/** The names of each image that has any, sorted. */
export function namesByImage({ references }: Pick<Collection, 'references'>): ReadonlyMap<ImageID, readonly string[]> {
  const names = new Map<ImageID, string[]>();
  for (const [reference, image] of references) {
    const known = names.get(image);
    if (known === undefined) names.set(image, [reference]);
    else known.push(reference);
  }
  return names;
}

/**
 * Of the same layer in several archives, which one is taken: one that is there, rather one as registries have it, of
 * these the first by digest. So the order of the archives does not count.
 */
function isBetter({ stored }: LayerSource, { stored: other }: LayerSource): boolean {
  if (stored === undefined || other === undefined) return other === undefined;
  if (stored.digest !== undefined) return other.digest === undefined || stored.digest < other.digest;
  return other.digest === undefined && stored.compression === 'none' && other.compression !== 'none';
}

/** Done only if the archive has a registry's manifests: nothing is made up for other archives. */
function addRegistryFacts(
  input: InputImage,
  references: Map<string, ImageID>,
  manifests: Map<string, RegistryManifest>,
  blobs: Map<string, DiffID>,
  origins: Map<DiffID, Set<string>>,
): void {
  if (input.manifests.length === 0) return;
  const { references: names, askedByDigest } = input;
  const repositories = new Set([...names.map(repositoryOf), ...(askedByDigest === undefined ? [] : [askedByDigest])]);
  for (const manifest of input.manifests) {
    manifests.set(manifest.digest, manifest);
    for (const repository of repositories) claim(references, `${repository}@${manifest.digest}`, input.id);
  }
  input.sources.forEach(({ blobDigest }, index) => {
    const diffID = input.diffIDs[index];
    if (diffID === undefined || blobDigest === undefined || blobDigest === diffID) return;
    blobs.set(blobDigest, diffID);
    const known = origins.get(diffID) ?? new Set<string>();
    for (const repository of repositories) known.add(`${fullName(repository)} ${blobDigest}`);
    origins.set(diffID, known);
  });
}

function claim(references: Map<string, ImageID>, reference: string, id: ImageID): void {
  const other = references.get(reference);
  if (other !== undefined && other !== id)
    throw new PreloaderError(
      'ARCHIVE_INVALID',
      `${reference}: expected one image of that name, found two: ${other} and ${id}`,
    );
  references.set(reference, id);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
