import { createHash } from 'node:crypto';
import { blobFile } from '../disk/image-targets.ts';
import { SIGNATURE_NAME } from '../disk/manifest-signer.ts';
import { FORMAT_VERSION, MANIFEST_NAME, type Manifest } from '../disk/manifest.ts';
import {
  piecesWithin,
  READ_AHEAD_NAME,
  serialiseReadAhead,
  sizeOfList,
  type ReadAheadFile,
  type ReadAheadList,
  READ_AHEAD_VERSION,
} from '../disk/read-ahead-list.ts';
import { hexOf, sha256, type ChainID } from '../docker/ids.ts';
import { metadataPaths, recordFiles, TAR_SPLIT } from '../docker/layer-db.ts';
import { linkTargetOf, lowerOf, overlayPaths, ownLayerNames } from '../docker/layer-folders.ts';
import { emptyReferenceStore, updateReferenceStore } from '../docker/reference-store.ts';
import { VERSION } from '../version.ts';
import type { DiskTargets } from './disk-targets.ts';
import { namesByImage, type CollectedLayer, type Collection } from './collect.ts';
import { checkManifest, checkRepositories, checkTarSplitSize, isListOfSources } from './check-limits.ts';
import type { FilesystemWriter } from './filesystem/filesystem.ts';
import { InodeTree } from './inodes/inode-tree.ts';
import { ownedByRoot, type Inode } from './inodes/inode.ts';
import { Samples } from './samples.ts';
import type { ContentStore, UnpackedLayer } from './layer/unpack-layer.ts';

/** A disk that has layers which the new one leaves out. */
export type BaseDisk = Manifest['bases'][number];

/** A layer's blob on the disk, in one piece. */
export interface PlacedBlob {
  readonly digest: string;
  readonly block: number;
  readonly sizeBytes: number;
}

/**
 * The tree of a preload disk: what dockerd would have written below its data root for these images, and the manifest.
 * Layers are added one by one, parents first, and are written at once: the tree keeps only the inode number of a
 * layer's folder. `finish` adds the rest.
 */
export class StoreTree {
  readonly #collection: Collection;
  readonly #store: ContentStore;
  readonly #filesystem: FilesystemWriter;
  readonly #tree = new InodeTree(ownedByRoot(0o755));
  readonly #samples = new Samples();
  readonly #metadata: Record<string, string> = {};
  readonly #layers: Manifest['layers'][number][] = [];
  readonly #lowers = new Map<ChainID, string>();
  /** What to read ahead, by layer; undefined without a list. */
  readonly #wanted: ReadonlyMap<string, readonly ReadAheadFile[]> | undefined;
  readonly #readAhead: ReadAheadList['layers'][number][] = [];

  constructor(collection: Collection, store: ContentStore, filesystem: FilesystemWriter, readAhead?: ReadAheadList) {
    this.#wanted =
      readAhead === undefined ? undefined : new Map(readAhead.layers.map(({ chainId, files }) => [chainId, files]));
    this.#collection = collection;
    this.#store = store;
    this.#filesystem = filesystem;
    // The modes are dockerd's own (overlay2/overlay.go, Init; daemon.go, imageRoot).
    this.#tree.setIno(this.#folder('overlay2', 0o710), filesystem.reserved);
    this.#folder('overlay2/l', 0o700);
    this.#folder('image', 0o700);
    for (const path of ['imagedb/content/sha256', 'imagedb/metadata/sha256', 'layerdb/sha256', 'distribution'])
      this.#folder(`image/overlay2/${path}`, 0o700);
  }

  /** Adds a layer. Without `unpacked`, it is on a base disk, and only its place in the chain is needed. */
  addLayer({ chain, diffID, parent }: CollectedLayer, unpacked: UnpackedLayer | undefined): void {
    const { cacheId, link } = ownLayerNames(chain);
    const parentLink = parent === undefined ? undefined : ownLayerNames(parent).link;
    const lower =
      parent === undefined || parentLink === undefined
        ? undefined
        : lowerOf({ link: parentLink, lower: this.#lowers.get(parent) });
    if (lower !== undefined) this.#lowers.set(chain, lower);
    if (unpacked === undefined) return;

    checkTarSplitSize(unpacked.tarSplit.sizeBytes);
    const layer = overlayPaths('').layer(cacheId);
    const { tree } = unpacked;
    const files = filesOnDisk(tree, this.#wanted?.get(chain) ?? []);
    if (files.length > 0) this.#readAhead.push({ chainId: chain, files });
    this.#samples.add(tree, `${layer}/diff`);
    const folder = tree.add({ kind: 'folder' }, ownedByRoot(0o710));
    tree.link(folder, 'diff', tree.root);
    if (lower !== undefined) tree.link(folder, 'work', tree.add({ kind: 'folder' }, ownedByRoot(0o700)));
    const small = [
      ['link', link, 0o644],
      ...(lower === undefined ? [] : [['lower', lower, 0o644] as const]),
      ['committed', '', 0o600],
    ] as const;
    for (const [name, content, mode] of small)
      tree.link(folder, name, this.#file(tree, `${layer}/${name}`, [Buffer.from(content)], mode));
    const place = this.#tree.add({ kind: 'folder' }, ownedByRoot(0o710));
    this.#tree.setIno(place, this.#filesystem.write(tree, folder, this.#filesystem.reserved));
    this.#tree.link(this.#folder('overlay2', 0o710), cacheId, place);
    const target = Buffer.from(linkTargetOf(cacheId));
    this.#tree.link(
      this.#folder('overlay2/l', 0o700),
      link,
      this.#tree.add({ kind: 'symlink', target }, ownedByRoot(0o777)),
    );

    const record = metadataPaths('').layer(chain);
    const size = String(unpacked.sizeBytes);
    for (const [name, content] of recordFiles({ chain, diffID, parent, size }))
      this.#addFile(`${record}/${name}`, content, 0o644);
    this.#addFile(`${record}/cache-id`, cacheId, 0o644);
    this.#addFile(`${record}/${TAR_SPLIT}`, unpacked.tarSplit.pieces(), 0o644);
    this.#layers.push({
      chainId: chain,
      diffId: diffID,
      ...(parent === undefined ? {} : { parent }),
      cacheId,
      sizeBytes: unpacked.sizeBytes,
    });
  }

  /**
   * Adds images, names and the manifest.
   * @returns the disk's tree, the manifest and its digest, and how much of the list to read ahead is on it
   */
  finish(
    priority: number,
    bases: readonly BaseDisk[],
    { targets, manifests: others }: DiskTargets,
    blobs: readonly PlacedBlob[],
  ): {
    readonly tree: InodeTree;
    readonly manifest: Buffer;
    readonly manifestDigest: string;
    readonly readAhead: ReturnType<typeof sizeOfList> | undefined;
  } {
    const paths = metadataPaths('');
    const { images, references, manifests, blobs: diffIDs, origins } = this.#collection;
    for (const { id, config, parent } of images) {
      this.#addFile(paths.image(id), config, 0o600);
      if (parent !== undefined) this.#addFile(`${paths.imageMetadata(id)}/parent`, parent, 0o600);
    }
    const repositories = updateReferenceStore(emptyReferenceStore, references);
    checkRepositories(repositories);
    this.#addFile(paths.repositories, repositories, 0o600);
    for (const [digest, diffID] of diffIDs) this.#addFile(paths.diffIDByDigest(digest), diffID, 0o644);
    for (const [diffID, places] of origins) {
      const list = [...places].sort().map((place) => {
        const [repository = '', digest = ''] = place.split(' ');
        return { Digest: digest, SourceRepository: repository, HMAC: '' };
      });
      const text = JSON.stringify(list);
      if (list.length > 0 && isListOfSources(text)) this.#addFile(paths.metadataByDiffID(diffID), text, 0o644);
    }
    const all = new Map([...manifests, ...others].map(({ digest, bytes }) => [digest, bytes]));
    for (const [digest, bytes] of [...all].sort(([a], [b]) => (a < b ? -1 : 1)))
      this.#addFile(`manifests/sha256/${hexOf(digest)}`, bytes, 0o644);
    const sorted = blobs.toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
    for (const { digest, block, sizeBytes } of sorted) {
      const file = blobFile(digest);
      const slash = file.lastIndexOf('/');
      this.#tree.link(
        this.#folder(file.slice(0, slash), 0o755),
        file.slice(slash + 1),
        this.#tree.add({ kind: 'file', size: sizeBytes, block }, ownedByRoot(0o644)),
      );
    }

    const readAhead: ReadAheadList | undefined =
      this.#wanted === undefined ? undefined : { formatVersion: READ_AHEAD_VERSION, layers: this.#readAhead };
    if (readAhead !== undefined)
      this.#tree.link(
        this.#tree.root,
        READ_AHEAD_NAME,
        this.#file(this.#tree, READ_AHEAD_NAME, [Buffer.from(serialiseReadAhead(readAhead))], 0o644),
      );

    const names = namesByImage(this.#collection);
    const manifest: Manifest = {
      formatVersion: FORMAT_VERSION,
      createdBy: `docker-preloader ${VERSION}`,
      priority,
      images: images.map(({ id, chains }) => ({
        id,
        references: names.get(id) ?? [],
        layers: [...chains],
        targets: [...(targets.get(id) ?? [])],
      })),
      layers: this.#layers,
      blobs: sorted.map(({ digest, sizeBytes }) => ({ digest, sizeBytes })),
      samples: this.#samples.list(),
      metadata: Object.fromEntries(Object.entries(this.#metadata).sort(([a], [b]) => (a < b ? -1 : 1))),
      bases: [...bases],
    };
    const text = `${JSON.stringify(manifest, undefined, 1)}\n`;
    checkManifest(text);
    const bytes = Buffer.from(text);
    this.#addUnlisted(MANIFEST_NAME, bytes);
    return {
      tree: this.#tree,
      manifest: bytes,
      manifestDigest: sha256(bytes),
      readAhead: readAhead && sizeOfList(readAhead),
    };
  }

  /** Adds the manifest's signature, which the manifest cannot list. */
  addSignature(text: string): void {
    this.#addUnlisted(SIGNATURE_NAME, Buffer.from(text));
  }

  /** Adds a file to the disk's root that is not in the manifest. */
  #addUnlisted(name: string, bytes: Buffer): void {
    this.#tree.link(this.#tree.root, name, this.#write(this.#tree, [bytes], 0o644).inode);
  }

  /** Adds a file of metadata to the disk's tree. Missing parents are made with mode 0700. */
  #addFile(path: string, content: string | Buffer | Iterable<Buffer>, mode: number): void {
    const slash = path.lastIndexOf('/');
    const pieces = typeof content === 'string' || Buffer.isBuffer(content) ? [Buffer.from(content)] : content;
    this.#tree.link(
      this.#folder(path.slice(0, slash), 0o700),
      path.slice(slash + 1),
      this.#file(this.#tree, path, pieces, mode),
    );
  }

  /** Writes a file of metadata and records its digest for the manifest. */
  #file(tree: InodeTree, path: string, pieces: Iterable<Buffer>, mode: number): number {
    const { inode, digest } = this.#write(tree, pieces, mode);
    this.#metadata[path] = digest;
    return inode;
  }

  #write(tree: InodeTree, pieces: Iterable<Buffer>, mode: number): { readonly inode: number; readonly digest: string } {
    const hash = createHash('sha256');
    const block = this.#store.begin();
    let size = 0;
    for (const piece of pieces) {
      this.#store.append(piece);
      hash.update(piece);
      size += piece.length;
    }
    this.#store.end();
    return {
      inode: tree.add({ kind: 'file', size, block: size === 0 ? 0 : block }, ownedByRoot(mode)),
      digest: `sha256:${hash.digest('hex')}`,
    };
  }

  /** The folder at a path. It and its parents are made if they do not exist. */
  #folder(path: string, mode: number): number {
    let folder = this.#tree.root;
    for (const name of path.split('/')) {
      const entry = this.#tree.find(folder, name);
      if (entry === 0) this.#tree.link(folder, name, this.#tree.add({ kind: 'folder' }, ownedByRoot(mode)));
      folder = this.#tree.inodeOf(this.#tree.find(folder, name));
      if (this.#tree.kind(folder) !== 'folder')
        throw new Error(`${path}: expected a folder, found a ${this.#tree.kind(folder)}`);
    }
    return folder;
  }
}

/** The files of a list that are in a layer, in their order on the disk. */
function filesOnDisk(tree: InodeTree, wanted: readonly ReadAheadFile[]): ReadAheadFile[] {
  const found = wanted.flatMap((file) => {
    const node = inodeAt(tree, file.path);
    const pieces = node?.kind === 'file' ? piecesWithin(file, node.size) : [];
    return node?.kind === 'file' && pieces.length > 0 ? [{ block: node.block, file: { path: file.path, pieces } }] : [];
  });
  return found.toSorted((a, b) => a.block - b.block).map(({ file }) => file);
}

function inodeAt(tree: InodeTree, path: string): Inode | undefined {
  let inode = tree.root;
  for (const name of Buffer.from(path).toString('latin1').split('/')) {
    const entry = tree.find(inode, name);
    if (entry === 0) return undefined;
    inode = tree.inodeOf(entry);
  }
  return tree.inode(inode);
}
