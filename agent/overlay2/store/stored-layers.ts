import { lstatSync } from 'node:fs';
import { asChainID, type ChainID } from '../../docker/ids.ts';
import { TAR_SPLIT, type MetadataPaths } from '../../docker/layer-db.ts';
import {
  emptyLayer,
  isCacheId,
  linksIn,
  linkTargetOf,
  overlayPaths,
  ownCacheId,
  ownLayerNames,
  type OwnLayerNames,
} from '../../docker/layer-folders.ts';
import { foldersIn, isDirectory, linkTarget, namesIn, readTextIfThere } from '../../system/files.ts';
import type { StoredMounts } from './stored-mounts.ts';

/** How a layer of ours lies in the store now; each part may be missing or damaged. */
export interface OwnLayer extends OwnLayerNames {
  /** Where `diff` points to. */
  readonly diff: string | undefined;
  readonly linkFile: string | undefined;
  readonly lower: string | undefined;
  readonly committed: boolean;
  /** Where `l/<link>` points to. */
  readonly linkTarget: string | undefined;
  /** Files of layerdb/sha256/<chain>, without the tar-split; undefined where there is no such folder. */
  readonly record: ReadonlyMap<string, string> | undefined;
  readonly tarSplitBytes: number | undefined;
}

/** How a layer is named by those above it. */
export interface NamedLayer {
  readonly link: string;
  readonly lower: string | undefined;
}

/** Whose a layer in the store is: its cache-id tells, and not a record that could be wrong. */
export type Ownership = 'none' | 'ours' | 'user';

/**
 * What dockerd names the folders of layers and containers by, before it records them (moby, layer/layer_store.go, registerWithDescriptor
 * and initMount). Killed in between, it leaves such a folder for ever and knows nothing of it. BuildKit's have other names.
 */
const DOCKERD_FOLDER = /^[0-9a-f]{64}(-init)?$/;

const RECORD_FILES = ['diff', 'size', 'parent', 'cache-id'] as const;

/** The layers of a store: their records in `layerdb/`, and their folders in `overlay2/`. */
export class StoredLayers {
  readonly #paths: MetadataPaths;
  readonly #overlay: ReturnType<typeof overlayPaths>;
  readonly #mounts: StoredMounts;
  #recorded: ReadonlySet<ChainID> | undefined;
  #folders: ReadonlySet<string> | undefined;
  readonly #ownership = new Map<ChainID, Ownership>();
  /** As records have them; undefined where there is none. */
  readonly #cacheIds = new Map<ChainID, string | undefined>();
  readonly #users = new Map<ChainID, NamedLayer | undefined>();
  #recordedFolders: ReadonlySet<string> | undefined;
  /** What the `lower` of a folder names. */
  readonly #links = new Map<string, readonly string[]>();

  constructor(dataRoot: string, paths: MetadataPaths, mounts: StoredMounts) {
    this.#paths = paths;
    this.#overlay = overlayPaths(dataRoot);
    this.#mounts = mounts;
  }

  /** Layers that have a folder in layerdb: dockerd passes over symlinks there, which the preloader of 2018 made (layer/filestore.go, List). */
  get recorded(): ReadonlySet<ChainID> {
    this.#recorded ??= new Set(foldersIn(this.#paths.layers).flatMap((name) => asChainID(`sha256:${name}`) ?? []));
    return this.#recorded;
  }

  /** Whether a layer has a folder in layerdb; of a few, each is asked for, since a listing costs time for each layer of the user's. */
  has(chain: ChainID): boolean {
    return this.#recorded?.has(chain) ?? isDirectory(this.#paths.layer(chain));
  }

  #folderNames(): ReadonlySet<string> {
    this.#folders ??= new Set(namesIn(this.#overlay.home));
    return this.#folders;
  }

  /** Layers with a folder of ours in overlay2/; what has none is the user's, or nothing is left of it. Without opening a file. */
  inOurFolders(): ChainID[] {
    return [...this.recorded].filter((chain) => this.#folderNames().has(ownCacheId(chain)));
  }

  ownership(chain: ChainID): Ownership {
    const known = this.#ownership.get(chain);
    if (known !== undefined) return known;
    const result = this.has(chain) ? this.#readOwnership(chain) : 'none';
    this.#ownership.set(chain, result);
    return result;
  }

  #readOwnership(chain: ChainID): Ownership {
    const { cacheId } = ownLayerNames(chain);
    const recorded = this.#cacheId(chain)?.trim() ?? '';
    if (recorded === cacheId) return 'ours';
    // After a power cut a file of ours may be empty or cut short: then our folder in overlay2/ is what is left to tell by.
    const hasFiles = isCacheId(recorded) && isDirectory(this.#overlay.layer(recorded));
    return hasFiles || !isDirectory(this.#overlay.layer(cacheId)) ? 'user' : 'ours';
  }

  #cacheId(chain: ChainID): string | undefined {
    if (!this.#cacheIds.has(chain)) this.#cacheIds.set(chain, readTextIfThere(`${this.#paths.layer(chain)}/cache-id`));
    return this.#cacheIds.get(chain);
  }

  /** A layer of ours, or what is there of one. */
  own(chain: ChainID): OwnLayer {
    const names = ownLayerNames(chain);
    const folder = this.#overlay.layer(names.cacheId);
    const record = this.#paths.layer(chain);
    const hasRecord = this.ownership(chain) === 'ours';
    // The usual case at a first boot: nothing of it is there to be asked for.
    if (!hasRecord && !this.#folderNames().has(names.cacheId))
      return {
        ...names,
        diff: undefined,
        linkFile: undefined,
        lower: undefined,
        committed: false,
        linkTarget: undefined,
        record: undefined,
        tarSplitBytes: undefined,
      };
    return {
      ...names,
      diff: linkTarget(`${folder}/diff`),
      linkFile: readTextIfThere(`${folder}/link`),
      lower: readTextIfThere(`${folder}/lower`),
      committed: lstatSync(`${folder}/committed`, { throwIfNoEntry: false })?.isFile() === true,
      linkTarget: linkTarget(this.#overlay.link(names.link)),
      record: hasRecord ? this.#readRecord(chain) : undefined,
      tarSplitBytes: hasRecord ? lstatSync(`${record}/${TAR_SPLIT}`, { throwIfNoEntry: false })?.size : undefined,
    };
  }

  #readRecord(chain: ChainID): ReadonlyMap<string, string> {
    const files = new Map<string, string>();
    for (const name of RECORD_FILES) {
      const text = name === 'cache-id' ? this.#cacheId(chain) : readTextIfThere(`${this.#paths.layer(chain)}/${name}`);
      if (text !== undefined) files.set(name, text);
    }
    return files;
  }

  /** Whether a folder of ours is there for a layer, whatever its record says. */
  hasOwnFolder(chain: ChainID): boolean {
    return isDirectory(this.#overlay.layer(ownLayerNames(chain).cacheId));
  }

  /** What a child of this user's layer names it by, or undefined where its files are not there. */
  users(chain: ChainID): NamedLayer | undefined {
    if (!this.#users.has(chain)) this.#users.set(chain, this.#readUsers(chain));
    return this.#users.get(chain);
  }

  #readUsers(chain: ChainID): NamedLayer | undefined {
    const cacheId = this.#cacheId(chain)?.trim() ?? '';
    if (!isCacheId(cacheId)) return undefined;
    const folder = this.#overlay.layer(cacheId);
    const link = readTextIfThere(`${folder}/link`);
    if (
      link === undefined ||
      linkTarget(this.#overlay.link(link)) !== linkTargetOf(cacheId) ||
      !isDirectory(`${folder}/diff`)
    )
      return undefined;
    return { link, lower: readTextIfThere(`${folder}/lower`) };
  }

  /** Whether our empty layer is whole. */
  hasEmptyLayer(): boolean {
    const folder = this.#overlay.layer(emptyLayer.cacheId);
    return (
      isDirectory(`${folder}/diff`) &&
      readTextIfThere(`${folder}/link`) === emptyLayer.link &&
      lstatSync(`${folder}/committed`, { throwIfNoEntry: false }) !== undefined &&
      linkTarget(this.#overlay.link(emptyLayer.link)) === linkTargetOf(emptyLayer.cacheId)
    );
  }

  /** Whether anything of our empty layer is there. */
  hasTraceOfEmptyLayer(): boolean {
    return (
      isDirectory(this.#overlay.layer(emptyLayer.cacheId)) ||
      linkTarget(this.#overlay.link(emptyLayer.link)) !== undefined
    );
  }

  /** Every link that a folder which is not among `ours` names in its `lower`, with that folder's name. */
  foreignLinks(ours: ReadonlySet<string>): ReadonlyMap<string, string> {
    const recorded = this.#foldersOfRecords();
    return new Map(
      [...this.#folderNames()]
        .filter((name) => !ours.has(name) && name !== 'l' && (!DOCKERD_FOLDER.test(name) || recorded.has(name)))
        .flatMap((name) => this.#linksOf(name).map((link) => [link, name] as const)),
    );
  }

  #linksOf(name: string): readonly string[] {
    const known = this.#links.get(name);
    if (known !== undefined) return known;
    const links = linksIn(readTextIfThere(`${this.#overlay.layer(name)}/lower`) ?? '');
    this.#links.set(name, links);
    return links;
  }

  /** Folders of overlay2/ that records name: of layers, and of containers, which have two. */
  #foldersOfRecords(): ReadonlySet<string> {
    this.#recordedFolders ??= new Set([
      ...[...this.recorded].map((chain) => this.#cacheId(chain)?.trim() ?? ''),
      ...[...this.#mounts.containerParents().keys()].flatMap((container) =>
        ['mount-id', 'init-id'].map((file) => readTextIfThere(`${this.#paths.mount(container)}/${file}`)?.trim() ?? ''),
      ),
    ]);
    return this.#recordedFolders;
  }

  /** The layer below, as the store's record has it. */
  parentOf(chain: ChainID): ChainID | undefined {
    return asChainID(readTextIfThere(`${this.#paths.layer(chain)}/parent`)?.trim());
  }

  /** A layer's own size in bytes, as its record has it; 0 where it does not say. */
  sizeOf(chain: ChainID): number {
    return Number(/^\d{1,15}$/.exec(readTextIfThere(`${this.#paths.layer(chain)}/size`) ?? '')?.[0] ?? 0);
  }
}
