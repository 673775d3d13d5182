import { FORMAT_VERSION, MANIFEST_NAME, type Manifest } from '../disk/manifest.ts';
import { hexOf, sha256, type ChainID } from '../docker/ids.ts';
import { metadataPaths, recordFiles, TAR_SPLIT } from '../docker/layer-db.ts';
import { linkTargetOf, lowerOf, overlayPaths, ownLayerNames } from '../docker/overlay2.ts';
import { emptyReferenceStore, updateReferenceStore } from '../docker/reference-store.ts';
import { VERSION } from '../version.ts';
import type { CollectedLayer, Collection } from './collect.ts';
import { attributes, ensureFolderNode, folder, type FolderNode } from './tree-node.ts';
import type { ContentStore, UnpackedLayer } from './unpack-layer.ts';

/** A disk that holds layers which the new one leaves out. */
export type BaseDisk = Manifest['bases'][number];

/**
 * The tree of a preload disk: what dockerd would have written below its data root for these images, and the manifest.
 * Layers are added one by one, parents first; `finish` adds the rest.
 */
export class DiskContent {
  readonly #collection: Collection;
  readonly #store: ContentStore;
  readonly #root: FolderNode = folder(0o755);
  readonly #metadata: Record<string, string> = {};
  readonly #layers: Manifest['layers'][number][] = [];
  readonly #lowers = new Map<ChainID, string>();

  constructor(collection: Collection, store: ContentStore) {
    this.#collection = collection;
    this.#store = store;
    // Modes as dockerd has them (overlay2/overlay.go, Init; daemon.go, imageRoot).
    ensureFolderNode(this.#root, 'overlay2', 0o710);
    ensureFolderNode(this.#root, 'overlay2/l', 0o700);
    ensureFolderNode(this.#root, 'image', 0o700);
    for (const path of ['imagedb/content/sha256', 'imagedb/metadata/sha256', 'layerdb/sha256', 'distribution']) ensureFolderNode(this.#root, `image/overlay2/${path}`, 0o700);
  }

  /** Adds a layer; without `unpacked` it is on a base disk, and only its place in the chain is needed. */
  addLayer({ chain, diffID, parent }: CollectedLayer, unpacked: UnpackedLayer | undefined): void {
    const { cacheId, link } = ownLayerNames(chain);
    const parentLink = parent === undefined ? undefined : ownLayerNames(parent).link;
    const lower = parent === undefined || parentLink === undefined ? undefined : lowerOf({ link: parentLink, lower: this.#lowers.get(parent) });
    if (lower !== undefined) this.#lowers.set(chain, lower);
    if (unpacked === undefined) return;

    const layer = overlayPaths('').layer(cacheId);
    const node = ensureFolderNode(this.#root, layer, 0o710);
    node.children.set('diff', unpacked.root);
    if (lower !== undefined) ensureFolderNode(this.#root, `${layer}/work`, 0o700);
    this.#addFile(`${layer}/link`, link, 0o644);
    if (lower !== undefined) this.#addFile(`${layer}/lower`, lower, 0o644);
    this.#addFile(`${layer}/committed`, '', 0o600);
    const links = ensureFolderNode(this.#root, 'overlay2/l', 0o700);
    links.children.set(link, { kind: 'symlink', ...attributes(0o777), target: Buffer.from(linkTargetOf(cacheId)) });

    const record = metadataPaths('').layer(chain);
    const size = String(unpacked.sizeBytes);
    for (const [name, content] of recordFiles({ chain, diffID, parent, size })) this.#addFile(`${record}/${name}`, content, 0o644);
    this.#addFile(`${record}/cache-id`, cacheId, 0o644);
    this.#addFile(`${record}/${TAR_SPLIT}`, unpacked.tarSplit, 0o644);
    this.#layers.push({ chainId: chain, diffId: diffID, ...(parent === undefined ? {} : { parent }), cacheId, sizeBytes: unpacked.sizeBytes });
  }

  /** Adds images, names and the manifest. @returns the disk's tree and the manifest's digest */
  finish(priority: number, bases: readonly BaseDisk[]): { readonly root: FolderNode; readonly manifestDigest: string } {
    const paths = metadataPaths('');
    const { images, references, manifests, blobs, origins } = this.#collection;
    for (const image of images) this.#addFile(paths.image(image.id), image.config, 0o600);
    this.#addFile(paths.repositories, updateReferenceStore(emptyReferenceStore, references), 0o600);
    for (const [digest, diffID] of blobs) this.#addFile(paths.diffIDByDigest(digest), diffID, 0o644);
    for (const [diffID, places] of origins) {
      const list = [...places].sort().map((place) => {
        const [repository = '', digest = ''] = place.split(' ');
        return { Digest: digest, SourceRepository: repository, HMAC: '' };
      });
      if (list.length > 0) this.#addFile(paths.metadataByDiffID(diffID), JSON.stringify(list), 0o644);
    }
    for (const { digest, bytes } of manifests) this.#addFile(`manifests/sha256/${hexOf(digest)}`, bytes, 0o644);

    const manifest: Manifest = {
      formatVersion: FORMAT_VERSION,
      createdBy: `docker-preloader ${VERSION}`,
      priority,
      images: images.map(({ id, chains }) => ({
        id,
        references: [...references].flatMap(([reference, image]) => (image === id ? [reference] : [])),
        layers: [...chains],
      })),
      layers: this.#layers,
      metadata: Object.fromEntries(Object.entries(this.#metadata).sort(([a], [b]) => (a < b ? -1 : 1))),
      bases: [...bases],
    };
    const text = `${JSON.stringify(manifest, undefined, 1)}\n`;
    this.#writeFile(MANIFEST_NAME, Buffer.from(text), 0o644);
    return { root: this.#root, manifestDigest: sha256(text) };
  }

  #addFile(path: string, content: string | Buffer, mode: number): void {
    const bytes = Buffer.from(content);
    this.#metadata[path] = sha256(bytes);
    this.#writeFile(path, bytes, mode);
  }

  #writeFile(path: string, bytes: Buffer, mode: number): void {
    const slash = path.lastIndexOf('/');
    const parent = slash === -1 ? this.#root : ensureFolderNode(this.#root, path.slice(0, slash), 0o700);
    const block = bytes.length === 0 ? 0 : this.#store.begin();
    if (bytes.length > 0) {
      this.#store.append(bytes);
      this.#store.end();
    }
    parent.children.set(path.slice(slash + 1), { kind: 'file', ...attributes(mode), size: bytes.length, block });
  }
}
