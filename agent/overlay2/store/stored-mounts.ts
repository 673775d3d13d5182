import { existsSync } from 'node:fs';
import { asChainID, type ChainID } from '../../docker/ids.ts';
import type { MetadataPaths } from '../../docker/layer-db.ts';
import { pinName } from '../../docker/layer-folders.ts';
import { namesIn, readTextIfThere } from '../../system/read-files.ts';
import { isRecord } from '../../text/is-record.ts';
import { parseStrictly } from '../../text/strict-json.ts';

/** What is in `layerdb/mounts` and stands on layers: containers, and our pins. */
export class StoredMounts {
  readonly #dataRoot: string;
  readonly #paths: MetadataPaths;
  #names: ReadonlySet<string> | undefined;
  #parents: ReadonlyMap<string, ChainID> | undefined;
  #containerParents: ReadonlyMap<string, ChainID> | undefined;

  constructor(dataRoot: string, paths: MetadataPaths) {
    this.#dataRoot = dataRoot;
    this.#paths = paths;
  }

  /** The names of containers and of our pins. */
  get names(): ReadonlySet<string> {
    this.#names ??= new Set(namesIn(this.#paths.containers));
    return this.#names;
  }

  /** The layer on which each of them stands (moby, layer/filestore.go, GetMountParent). */
  #readParents(): ReadonlyMap<string, ChainID> {
    this.#parents ??= new Map(
      [...this.names].flatMap((name) => {
        const parent = asChainID(readTextIfThere(`${this.#paths.mount(name)}/parent`)?.trim());
        return parent === undefined ? [] : [[name, parent] as const];
      }),
    );
    return this.#parents;
  }

  /**
   * The top layer of the image from which each container was made. Pins are no containers, because nothing of the
   * user's stands on them. What dockerd has left if it was killed while it made a container or built (moby,
   * daemon/create.go, create) is none either: dockerd never looks at it again, and nobody can remove it.
   */
  containerParents(): ReadonlyMap<string, ChainID> {
    this.#containerParents ??= new Map(
      [...this.#readParents()].filter(
        ([name, parent]) => name !== pinName(parent) && existsSync(this.#containerConfig(name)),
      ),
    );
    return this.#containerParents;
  }

  /** A container's name, or undefined if dockerd no longer has one. */
  containerName(id: string): string | undefined {
    try {
      const config: unknown = parseStrictly(readTextIfThere(this.#containerConfig(id)) ?? '{}');
      const name = isRecord(config) ? config['Name'] : undefined;
      return typeof name === 'string' && name.length > 1 ? name.replace(/^\//, '') : undefined;
    } catch {
      return undefined;
    }
  }

  /** The path of a container's configuration (moby, container/container.go, ConfigPath). */
  #containerConfig(id: string): string {
    return `${this.#dataRoot}/containers/${id}/config.v2.json`;
  }

  /** Every layer that has a pin of ours, whether or not the layer is there. */
  pinnedLayers(): ChainID[] {
    return [...this.#readParents()].flatMap(([name, parent]) => (name === pinName(parent) ? [parent] : []));
  }

  /**
   * Whether a layer has a pin.
   * @param whole and whether dockerd can read it: after a power cut, its files may be empty
   */
  hasPin(chain: ChainID, whole: boolean): boolean {
    const name = pinName(chain);
    if (!this.names.has(name)) return false;
    return (
      !whole ||
      (readTextIfThere(`${this.#paths.mount(name)}/mount-id`) === name &&
        readTextIfThere(`${this.#paths.mount(name)}/parent`) === chain)
    );
  }
}
