import { existsSync, lstatSync } from 'node:fs';
import { messageAt, PreloaderError } from '../system/errors.ts';
import { foldersIn, isDirectory, linkTarget, namesIn, readIfThere, readTextIfThere } from '../system/files.ts';
import { asChainID, asImageID, type ChainID, type ImageID } from '../docker/ids.ts';
import { OWN_IMAGE_SEC, parseImageConfig, readLayers, type ImageConfig } from '../docker/image-config.ts';
import { isRecord } from '../text/is-record.ts';
import { metadataPaths, TAR_SPLIT, type MetadataPaths } from '../docker/layer-db.ts';
import {
  emptyLayer,
  isCacheId,
  linksIn,
  linkTargetOf,
  overlayPaths,
  ownCacheId,
  ownLayerNames,
  pinName,
  type OwnLayerNames,
} from '../docker/layer-folders.ts';
import { emptyReferenceStore, parseReferenceStore, type ReferenceStore } from '../docker/reference-store.ts';

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

/**
 * dockerd's store in a data root, as it is on the disk while dockerd does not run. Folders are listed once; the rest is
 * read when it is asked for: a store with thousands of the user's layers costs a listing and not a reading.
 */
export class Store {
  readonly dataRoot: string;
  readonly paths: MetadataPaths;
  readonly referenceStore: ReferenceStore;
  readonly images: ReadonlySet<ImageID>;
  readonly #overlay: ReturnType<typeof overlayPaths>;
  #layers: ReadonlySet<ChainID> | undefined;
  readonly #ownership = new Map<ChainID, Ownership>();
  /** As records have them; undefined where there is none. */
  readonly #cacheIds = new Map<ChainID, string | undefined>();
  readonly #userLayers = new Map<ChainID, NamedLayer | undefined>();
  readonly #configs = new Map<ImageID, ImageConfig | undefined>();
  #overlayNames: ReadonlySet<string> | undefined;
  #mountNames: ReadonlySet<string> | undefined;
  #mountParents: ReadonlyMap<string, ChainID> | undefined;
  #containerParents: ReadonlyMap<string, ChainID> | undefined;
  #foreignLinks: ReadonlyMap<string, string> | undefined;

  /** @throws PreloaderError STORE_INVALID where dockerd's own metadata cannot be read */
  constructor(dataRoot: string) {
    this.dataRoot = dataRoot;
    this.paths = metadataPaths(dataRoot);
    this.#overlay = overlayPaths(dataRoot);
    try {
      const text = readTextIfThere(this.paths.repositories);
      this.referenceStore = text === undefined ? emptyReferenceStore : parseReferenceStore(text);
    } catch (error) {
      throw new PreloaderError(
        'STORE_INVALID',
        `${messageAt(this.paths.repositories, error)}: dockerd will not start with it; mend or remove it`,
        { cause: error },
      );
    }
    this.images = new Set(namesIn(this.paths.images).flatMap((name) => asImageID(`sha256:${name}`) ?? []));
  }

  /** Layers that have a folder in layerdb: dockerd passes over symlinks there, which the preloader of 2018 made (layer/filestore.go, List). */
  get layers(): ReadonlySet<ChainID> {
    this.#layers ??= new Set(foldersIn(this.paths.layers).flatMap((name) => asChainID(`sha256:${name}`) ?? []));
    return this.#layers;
  }

  /** Whether a layer has a folder in layerdb; of a few, each is asked for, since a listing costs time for each layer of the user's. */
  hasLayer(chain: ChainID): boolean {
    return this.#layers?.has(chain) ?? isDirectory(this.paths.layer(chain));
  }

  #names(): ReadonlySet<string> {
    this.#overlayNames ??= new Set(namesIn(this.#overlay.home));
    return this.#overlayNames;
  }

  /** Layers with a folder of ours in overlay2/; what has none is the user's, or nothing is left of it. Without opening a file. */
  layersInOurFolders(): ChainID[] {
    return [...this.layers].filter((chain) => this.#names().has(ownCacheId(chain)));
  }

  ownership(chain: ChainID): Ownership {
    const known = this.#ownership.get(chain);
    if (known !== undefined) return known;
    const result = this.hasLayer(chain) ? this.#readOwnership(chain) : 'none';
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
    if (!this.#cacheIds.has(chain)) this.#cacheIds.set(chain, readTextIfThere(`${this.paths.layer(chain)}/cache-id`));
    return this.#cacheIds.get(chain);
  }

  /** A layer of ours, or what is there of one. */
  ownLayer(chain: ChainID): OwnLayer {
    const names = ownLayerNames(chain);
    const folder = this.#overlay.layer(names.cacheId);
    const record = this.paths.layer(chain);
    const hasRecord = this.ownership(chain) === 'ours';
    // The usual case at a first boot: nothing of it is there to be asked for.
    if (!hasRecord && !this.#names().has(names.cacheId))
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
      const text = name === 'cache-id' ? this.#cacheId(chain) : readTextIfThere(`${this.paths.layer(chain)}/${name}`);
      if (text !== undefined) files.set(name, text);
    }
    return files;
  }

  /** What a child of this user's layer names it by, or undefined where its files are not there. */
  userLayer(chain: ChainID): NamedLayer | undefined {
    if (!this.#userLayers.has(chain)) this.#userLayers.set(chain, this.#readUserLayer(chain));
    return this.#userLayers.get(chain);
  }

  #readUserLayer(chain: ChainID): NamedLayer | undefined {
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

  /** An image's layers, or undefined where its configuration is not there or not valid. */
  imageConfig(id: ImageID): ImageConfig | undefined {
    if (this.#configs.has(id)) return this.#configs.get(id);
    const config = this.#readImageConfig(id);
    this.#configs.set(id, config);
    return config;
  }

  #readImageConfig(id: ImageID): ImageConfig | undefined {
    try {
      const bytes = this.readImage(id);
      return bytes === undefined ? undefined : readLayers(bytes, id);
    } catch {
      return undefined;
    }
  }

  /** What a classic build made the image from, as the store has it. */
  imageParent(id: ImageID): ImageID | undefined {
    return asImageID(readTextIfThere(`${this.paths.imageMetadata(id)}/parent`));
  }

  /** When dockerd, or we, wrote an image's configuration, in milliseconds since 1970. */
  imageTime(id: ImageID): number | undefined {
    return lstatSync(this.paths.image(id), { throwIfNoEntry: false })?.mtimeMs;
  }

  /** Whether we wrote an image's configuration, and dockerd has not written it again since. */
  isOwnImage(id: ImageID): boolean {
    return this.imageTime(id) === OWN_IMAGE_SEC * 1000;
  }

  /** Whether an image's configuration is there as its ID says. */
  hasWholeImage(id: ImageID): boolean {
    try {
      const bytes = this.readImage(id);
      return bytes !== undefined && parseImageConfig(bytes, id).id === id;
    } catch {
      return false;
    }
  }

  readImage(id: ImageID): Buffer | undefined {
    return readIfThere(this.paths.image(id));
  }

  /** Names in layerdb/mounts: of containers, and of pins of ours. */
  get mountNames(): ReadonlySet<string> {
    this.#mountNames ??= new Set(namesIn(this.paths.containers));
    return this.#mountNames;
  }

  /** Name in layerdb/mounts to the layer that it stands on (moby, layer/filestore.go, GetMountParent). */
  #parents(): ReadonlyMap<string, ChainID> {
    this.#mountParents ??= new Map(
      [...this.mountNames].flatMap((name) => {
        const parent = asChainID(readTextIfThere(`${this.paths.mount(name)}/parent`)?.trim());
        return parent === undefined ? [] : [[name, parent] as const];
      }),
    );
    return this.#mountParents;
  }

  /**
   * Container to the top layer of the image that it was made from. A pin is none: nothing of the user's stands on it. What a
   * dockerd that was killed has left, as it made a container or built (moby, daemon/create.go, create), is none either: it
   * never looks at such a layer again, and nobody can remove it.
   */
  containerParents(): ReadonlyMap<string, ChainID> {
    this.#containerParents ??= new Map(
      [...this.#parents()].filter(
        ([name, parent]) =>
          name !== pinName(parent) && existsSync(`${this.dataRoot}/containers/${name}/config.v2.json`),
      ),
    );
    return this.#containerParents;
  }

  /** Every layer that a pin of ours is for, whether the layer is there or not. */
  pinnedLayers(): ChainID[] {
    return [...this.#parents()].flatMap(([name, parent]) => (name === pinName(parent) ? [parent] : []));
  }

  /** Whether a layer has a pin. @param whole and dockerd can read it: after a power cut its files may be empty */
  hasPin(chain: ChainID, whole: boolean): boolean {
    const name = pinName(chain);
    if (!this.mountNames.has(name)) return false;
    return (
      !whole ||
      (readTextIfThere(`${this.paths.mount(name)}/mount-id`) === name &&
        readTextIfThere(`${this.paths.mount(name)}/parent`) === chain)
    );
  }

  /** Every link that a layer which is not in `ours` names in its `lower`, with that layer's cache-id. */
  foreignLinks(ours: ReadonlySet<string>): ReadonlyMap<string, string> {
    if (this.#foreignLinks === undefined) {
      const links = new Map<string, string>();
      const recorded = this.#recordedFolders();
      for (const name of this.#names()) {
        if (ours.has(name) || name === 'l' || (DOCKERD_FOLDER.test(name) && !recorded.has(name))) continue;
        for (const link of linksIn(readTextIfThere(`${this.#overlay.layer(name)}/lower`) ?? '')) links.set(link, name);
      }
      this.#foreignLinks = links;
    }
    return this.#foreignLinks;
  }

  /** Folders of overlay2/ that records name: of layers, and of containers, which have two. */
  #recordedFolders(): ReadonlySet<string> {
    const names = [...this.layers].map((chain) => this.#cacheId(chain)?.trim() ?? '');
    for (const container of this.containerParents().keys()) {
      for (const file of ['mount-id', 'init-id'])
        names.push(readTextIfThere(`${this.paths.mount(container)}/${file}`)?.trim() ?? '');
    }
    return new Set(names);
  }

  /** The layer below, as the store's record has it. */
  parentOf(chain: ChainID): ChainID | undefined {
    return asChainID(readTextIfThere(`${this.paths.layer(chain)}/parent`)?.trim());
  }

  /** A layer's own size in bytes, as its record has it; 0 where it does not say. */
  sizeOf(chain: ChainID): number {
    return Number(/^\d{1,15}$/.exec(readTextIfThere(`${this.paths.layer(chain)}/size`) ?? '')?.[0] ?? 0);
  }

  /** A container's name, or undefined where dockerd has none for it any more (moby, container/container.go, ConfigPath). */
  containerName(id: string): string | undefined {
    try {
      const config: unknown = JSON.parse(readTextIfThere(`${this.dataRoot}/containers/${id}/config.v2.json`) ?? '{}');
      const name = isRecord(config) ? config['Name'] : undefined;
      return typeof name === 'string' && name.length > 1 ? name.replace(/^\//, '') : undefined;
    } catch {
      return undefined;
    }
  }
}
