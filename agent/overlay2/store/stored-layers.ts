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
import { foldersIn, isDirectory, linkTarget, namesIn, readTextIfThere } from '../../system/read-files.ts';
import type { StoredMounts } from './stored-mounts.ts';

/** A layer of ours as it is in the store now. Each part may be missing or damaged. */
export interface OwnLayer extends OwnLayerNames {
  /** Where `diff` points. */
  readonly diff: string | undefined;
  readonly linkFile: string | undefined;
  readonly lower: string | undefined;
  readonly committed: boolean;
  /** Where `l/<link>` points. */
  readonly linkTarget: string | undefined;
  /** The files of layerdb/sha256/<chain> without the tar-split. Undefined if there is no such folder. */
  readonly record: ReadonlyMap<string, string> | undefined;
  readonly tarSplitBytes: number | undefined;
}

/** How the layers above name a layer. */
export interface NamedLayer {
  readonly link: string;
  readonly lower: string | undefined;
}

/** Whose a layer in the store is. Its cache-id tells that, and not a record of ours, which could be wrong. */
export type Ownership = 'none' | 'ours' | 'user';

/**
 * The names that dockerd gives to folders of layers and containers before it records them (moby, layer/layer_store.go,
 * registerWithDescriptor and initMount). If it is killed in between, such a folder stays for ever, and dockerd does not
 * know of it. BuildKit's folders have other names.
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
  /** The cache-ids in the layers' records. Undefined if a record has none. */
  readonly #cacheIds = new Map<ChainID, string | undefined>();
  readonly #users = new Map<ChainID, NamedLayer | undefined>();
  #recordedFolders: ReadonlySet<string> | undefined;
  /** The links that the `lower` of each folder names. */
  readonly #links = new Map<string, readonly string[]>();

  constructor(dataRoot: string, paths: MetadataPaths, mounts: StoredMounts) {
    this.#paths = paths;
    this.#overlay = overlayPaths(dataRoot);
    this.#mounts = mounts;
  }

  /**
   * Layers that have a folder in layerdb. The preloader of 2018 made symlinks there, which dockerd ignores
   * (layer/filestore.go, List).
   */
  get recorded(): ReadonlySet<ChainID> {
    this.#recorded ??= new Set(foldersIn(this.#paths.layers).flatMap((name) => asChainID(`sha256:${name}`) ?? []));
    return this.#recorded;
  }

  /**
   * Whether a layer has a folder in layerdb. For a few layers each is looked up, because a listing takes time for each
   * of the user's layers.
   */
  has(chain: ChainID): boolean {
    return this.#recorded?.has(chain) ?? isDirectory(this.#paths.layer(chain));
  }

  #folderNames(): ReadonlySet<string> {
    this.#folders ??= new Set(namesIn(this.#overlay.home));
    return this.#folders;
  }

  /**
   * Layers with a folder of ours in overlay2/. All others are the user's, or nothing is left of them. No file is opened
   * for this.
   */
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
    // After a power cut, a file of ours may be empty or cut short. Then only our folder in overlay2/ can tell.
    const hasFiles = isCacheId(recorded) && isDirectory(this.#overlay.layer(recorded));
    return hasFiles || !isDirectory(this.#overlay.layer(cacheId)) ? 'user' : 'ours';
  }

  #cacheId(chain: ChainID): string | undefined {
    if (!this.#cacheIds.has(chain)) this.#cacheIds.set(chain, readTextIfThere(`${this.#paths.layer(chain)}/cache-id`));
    return this.#cacheIds.get(chain);
  }

  /** A layer of ours, or what is there of it. */
  own(chain: ChainID): OwnLayer {
    const names = ownLayerNames(chain);
    const folder = this.#overlay.layer(names.cacheId);
    const record = this.#paths.layer(chain);
    const hasRecord = this.ownership(chain) === 'ours';
    // This is the usual case at a first boot: nothing of the layer is there, and nothing has to be read.
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

  /** Whether a layer has a folder of ours, whatever its record says. */
  hasOwnFolder(chain: ChainID): boolean {
    return isDirectory(this.#overlay.layer(ownLayerNames(chain).cacheId));
  }

  /** How the layers above name this layer of the user's, or undefined if its files are not there. */
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

  /** Every link that the `lower` of a folder not among `ours` names, with the name of that folder. */
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

  /** The folders of overlay2/ that records name: those of layers, and those of containers, which have two each. */
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

  /** A layer's own size in bytes by its record, or 0 if the record does not say. */
  sizeOf(chain: ChainID): number {
    return Number(/^\d{1,15}$/.exec(readTextIfThere(`${this.#paths.layer(chain)}/size`) ?? '')?.[0] ?? 0);
  }
}
