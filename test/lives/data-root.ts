import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import path from 'node:path';
import { deviceNumberOf } from '../../agent/system/block-devices.ts';
import { chainsOf } from './images.ts';

/** BuildKit's folders have names of their own (moby/buildkit, identity/randomid.go). */
const BUILDKIT_NAME_LENGTH = 25;

/** A layer as the store's record has it. */
export interface StoredLayer {
  readonly cacheId: string;
  readonly parent: string | undefined;
  /** Where `diff` leads to: such a layer is a disk's. Undefined where dockerd has its files. */
  readonly linkTo: string | undefined;
  /** Whether files are there, wherever. */
  readonly isThere: boolean;
  /** Whether they are on a disk that is mounted, and gone. */
  readonly isLost: boolean;
}

/** dockerd's files below a data root, read by a reader of the tests' own, which knows nothing of ledgers and marks. */
export class DataRoot {
  readonly path: string;

  constructor(dataRoot: string) {
    this.path = dataRoot;
  }

  get #image(): string {
    return path.join(this.path, 'image/overlay2');
  }

  /** Every reference, tags and digests, with its image. */
  names(): Map<string, string> {
    const file = path.join(this.#image, 'repositories.json');
    if (!existsSync(file)) return new Map();
    const { Repositories } = JSON.parse(readFileSync(file, 'utf8')) as {
      Repositories: Record<string, Record<string, string>>;
    };
    return new Map(Object.values(Repositories).flatMap((references) => Object.entries(references)));
  }

  /** Each image's configuration, with the time at which it was written. */
  images(): Map<string, number> {
    const folder = path.join(this.#image, 'imagedb/content/sha256');
    return new Map(
      list(folder)
        .filter((name) => /^[0-9a-f]{64}$/.test(name))
        .map((name) => [`sha256:${name}`, statSync(path.join(folder, name)).mtimeMs]),
    );
  }

  chainsOf(image: string): string[] {
    const file = path.join(this.#image, 'imagedb/content/sha256', image.slice('sha256:'.length));
    const { rootfs } = JSON.parse(readFileSync(file, 'utf8')) as { rootfs: { diff_ids?: string[] } };
    return chainsOf(rootfs.diff_ids ?? []);
  }

  /** What a classic build has made the image from. */
  parentOf(image: string): string | undefined {
    return text(path.join(this.#image, 'imagedb/metadata/sha256', image.slice('sha256:'.length), 'parent'));
  }

  layers(): Map<string, StoredLayer> {
    const folder = path.join(this.#image, 'layerdb/sha256');
    return new Map(
      list(folder).flatMap((name): [string, StoredLayer][] => {
        const record = path.join(folder, name);
        const cacheId = text(path.join(record, 'cache-id'));
        if (cacheId === undefined) return [];
        const diff = path.join(this.path, 'overlay2', cacheId, 'diff');
        const isLink = lstatSync(diff, { throwIfNoEntry: false })?.isSymbolicLink() === true;
        return [
          [
            `sha256:${name}`,
            {
              cacheId,
              parent: text(path.join(record, 'parent')),
              linkTo: isLink ? readlinkSync(diff) : undefined,
              isThere: existsSync(diff),
              isLost: isLink && sizeOfDeviceBelow(diff) === 0,
            },
          ],
        ];
      }),
    );
  }

  /**
   * The top layers that containers stand on. Of a container that was half made when dockerd was killed, a record
   * without a container is left.
   */
  containerParents(): string[] {
    return this.#containers().flatMap((folder) => text(path.join(folder, 'parent')) ?? []);
  }

  /**
   * Layers that dockerd has made and that no image and no container has, with those below: what is left where it was
   * killed as it loaded an image, or while a container was half made on one. It removes a layer only together with an
   * image.
   */
  leftOver(): Set<string> {
    const layers = this.layers();
    const used = new Set([
      ...[...this.images().keys()].flatMap((image) => this.chainsOf(image)),
      ...this.containerParents().flatMap((top) => this.#below(top)),
    ]);
    // BuildKit's have other names, and go with its cache.
    const left = [...layers].filter(
      ([chain, { linkTo, cacheId }]) => linkTo === undefined && cacheId.length === 64 && !used.has(chain),
    );
    return new Set(left.flatMap(([chain]) => this.#below(chain)));
  }

  /**
   * Layers that folders of BuildKit's stand on. When its cache is empty, 20.10 may still have one that it has lost
   * sight of, as it was killed in a build.
   */
  underBuildKit(): Set<string> {
    const layers = this.layers();
    const lowers = this.#lowersOf(
      list(path.join(this.path, 'overlay2')).filter((name) => name.length === BUILDKIT_NAME_LENGTH),
    );
    return new Set(
      [...layers].filter(([, { cacheId }]) => lowers.has(cacheId)).flatMap(([chain]) => this.#below(chain)),
    );
  }

  #below(top: string): string[] {
    const layers = this.layers();
    const chains: string[] = [];
    for (
      let chain: string | undefined = top;
      chain !== undefined && layers.has(chain);
      chain = layers.get(chain)?.parent
    )
      chains.push(chain);
    return chains;
  }

  containerParent(id: string): string | undefined {
    return text(path.join(this.#image, 'layerdb/mounts', id, 'parent'));
  }

  #containers(): string[] {
    const folder = path.join(this.#image, 'layerdb/mounts');
    return list(folder)
      .filter((name) => existsSync(path.join(this.path, 'containers', name, 'config.v2.json')))
      .map((name) => path.join(folder, name));
  }

  /**
   * Folders of overlay2 that the `lower` of one which dockerd knows names: a layer's, a container's, or one of
   * BuildKit's.
   */
  lowersOfDockerd(): Set<string> {
    const layers = [...this.layers().values()]
      .filter(({ linkTo }) => linkTo === undefined)
      .map(({ cacheId }) => cacheId);
    const containers = this.#containers().map((folder) => text(path.join(folder, 'mount-id')) ?? '');
    const ofBuildKit = list(path.join(this.path, 'overlay2')).filter((name) => name.length === BUILDKIT_NAME_LENGTH);
    return this.#lowersOf([...layers, ...containers, ...ofBuildKit]);
  }

  #lowersOf(folders: readonly string[]): Set<string> {
    const home = path.join(this.path, 'overlay2');
    const named = new Set<string>();
    for (const folder of folders) {
      for (const link of (text(path.join(home, folder, 'lower')) ?? '').split(':')) {
        const target = link === '' ? undefined : lstatSync(path.join(home, link), { throwIfNoEntry: false });
        if (target?.isSymbolicLink() === true)
          named.add(path.basename(path.dirname(readlinkSync(path.join(home, link)))));
      }
    }
    return named;
  }

  /** Files of `distribution/`, which a pull writes, and what comes with a disk that knows its registry. */
  distribution(): string[] {
    const folder = path.join(this.#image, 'distribution');
    return existsSync(folder)
      ? readdirSync(folder, { recursive: true, withFileTypes: true })
          .filter((entry) => entry.isFile())
          .map(({ name }) => name)
      : [];
  }
}

function list(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder) : [];
}

function text(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined;
}

/** In sectors. Undefined where the file is not there. A device that was detached while it is mounted has none. */
function sizeOfDeviceBelow(file: string): number | undefined {
  const dev = statSync(file, { throwIfNoEntry: false })?.dev;
  if (dev === undefined) return undefined;
  const size = text(`/sys/dev/block/${deviceNumberOf(dev)}/size`);
  return size === undefined ? undefined : Number(size);
}
