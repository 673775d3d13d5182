import { lstatSync } from 'node:fs';
import { asImageID, type ImageID } from '../../docker/ids.ts';
import { OWN_IMAGE_SEC, parseImageConfig, readLayers, type ImageConfig } from '../../docker/image-config.ts';
import { metadataPaths, type MetadataPaths } from '../../docker/layer-db.ts';
import { emptyReferenceStore, parseReferenceStore, type ReferenceStore } from '../../docker/reference-store.ts';
import { messageAt, PreloaderError } from '../../system/errors.ts';
import { namesIn, readIfThere, readTextIfThere } from '../../system/read-files.ts';
import { StoredLayers } from './stored-layers.ts';
import { StoredMounts } from './stored-mounts.ts';

/**
 * dockerd's store in a data root, as it is on the disk while dockerd does not run. Folders are listed once. The rest is
 * read when it is needed, so that thousands of layers of the user's are listed and not read.
 */
export class Store {
  readonly dataRoot: string;
  readonly paths: MetadataPaths;
  readonly referenceStore: ReferenceStore;
  readonly images: ReadonlySet<ImageID>;
  readonly mounts: StoredMounts;
  readonly layers: StoredLayers;
  readonly #configs = new Map<ImageID, ImageConfig | undefined>();

  /** @throws PreloaderError STORE_INVALID if dockerd's own metadata cannot be read */
  constructor(dataRoot: string) {
    this.dataRoot = dataRoot;
    this.paths = metadataPaths(dataRoot);
    this.mounts = new StoredMounts(dataRoot, this.paths);
    this.layers = new StoredLayers(dataRoot, this.paths, this.mounts);
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

  /** An image's layers, or undefined if its configuration is missing or not valid. */
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

  /** The image from which a classic build made this one, as the store has it. */
  imageParent(id: ImageID): ImageID | undefined {
    return asImageID(readTextIfThere(`${this.paths.imageMetadata(id)}/parent`));
  }

  /** When dockerd or we wrote an image's configuration, in milliseconds since 1970. */
  imageTime(id: ImageID): number | undefined {
    return lstatSync(this.paths.image(id), { throwIfNoEntry: false })?.mtimeMs;
  }

  /** Whether we wrote an image's configuration, and dockerd has not written it again since. */
  isOwnImage(id: ImageID): boolean {
    return this.imageTime(id) === OWN_IMAGE_SEC * 1000;
  }

  /** Whether an image's configuration is there and has the digest that is its ID. */
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
}
