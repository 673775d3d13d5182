import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { hexOf, type ChainID } from '../../docker/ids.ts';
import { TAR_SPLIT, type MetadataPaths } from '../../docker/layer-db.ts';
import { FILE, FOLDER, PRIVATE_FOLDER } from './modes.ts';
import { ownLayerNames } from '../../docker/layer-folders.ts';
import { isENOTDIR } from '../../system/errors.ts';
import { namesIn, readTextIfThere } from '../../system/read-files.ts';
import { moveTemp, removeIfThere, replaceFile, withoutTemp, writeNewFile } from '../../system/write-files.ts';
import { copyTarSplit, isCopyOf } from '../store/copy-tar-split.ts';
import type { Step } from '../plan/steps.ts';

type RecordStep = Extract<Step, { do: 'record-layer' }>;

/** Names in layerdb/tmp that begin with this are ours. */
const TEMP = 'docker-preloader-';

/** Writes and removes records of layers in dockerd's `layerdb/`, so that dockerd never finds half of one. */
export class LayerRecords {
  readonly #paths: MetadataPaths;
  readonly #ensure: (folder: string, mode: number) => void;
  #orphans: readonly string[] | undefined;

  /** @param ensure makes a folder that does not exist yet */
  constructor(paths: MetadataPaths, ensure: (folder: string, mode: number) => void) {
    this.#paths = paths;
    this.#ensure = ensure;
  }

  /** Removes what a killed run has left, which may be what fills the data root. */
  clearTemp(): void {
    for (const name of namesIn(this.#paths.layersTemp)) {
      if (name.startsWith(TEMP)) rmSync(`${this.#paths.layersTemp}/${name}`, { recursive: true, force: true });
    }
  }

  /**
   * Writes a record as dockerd does: into a folder beside, which is then renamed, so that half a record never has the
   * layer's name.
   */
  add(step: RecordStep): void {
    this.#ensure(this.#paths.layers, PRIVATE_FOLDER);
    this.#dropOrphans(step.chain);
    this.#ensure(this.#paths.layersTemp, PRIVATE_FOLDER);
    const temp = this.#temp(step.chain);
    mkdirSync(temp, { mode: FOLDER });
    try {
      this.#fill(temp, step);
    } catch (error) {
      throw withoutTemp(temp, error);
    }
  }

  /**
   * Replaces the files of a record one by one. The record stays in place, because a user's image may stand on the
   * layer.
   */
  mend({ chain, label, files, tarSplit }: RecordStep): void {
    this.#ensure(this.#paths.layersTemp, PRIVATE_FOLDER);
    const folder = this.#paths.layer(chain);
    const tempPath = `${this.#paths.layersTemp}/${TEMP}mend`;
    for (const [name, content] of files) {
      if (readTextIfThere(`${folder}/${name}`) !== content)
        replaceFile(`${folder}/${name}`, content, { mode: FILE, durable: false, tempPath });
    }
    const path = `${folder}/${TAR_SPLIT}`;
    if (
      tarSplit === undefined ||
      (tarSplit.digest === undefined && existsSync(path) && isCopyOf(path, { ...tarSplit, label }))
    )
      return;
    try {
      copyTarSplit({ ...tarSplit, label }, tempPath, FILE);
    } catch (error) {
      throw withoutTemp(tempPath, error);
    }
    moveTemp(tempPath, path);
  }

  /** Removes a record in one step, because dockerd would take half of one for a layer. */
  remove(chain: ChainID): void {
    const temp = this.#temp(chain);
    this.#ensure(this.#paths.layersTemp, PRIVATE_FOLDER);
    renameSync(this.#paths.layer(chain), temp);
    rmSync(temp, { recursive: true, force: true });
  }

  #fill(temp: string, { chain, label, files, tarSplit }: RecordStep): void {
    for (const [name, content] of files) writeNewFile(`${temp}/${name}`, content, FILE);
    if (tarSplit !== undefined) copyTarSplit({ ...tarSplit, label }, `${temp}/${TAR_SPLIT}`, FILE);
    const record = this.#paths.layer(chain);
    try {
      renameSync(temp, record);
    } catch (error) {
      // It is a symlink, as the preloader of 2018 made it. dockerd ignores it, but it is in the way.
      if (!isENOTDIR(error)) throw error;
      removeIfThere(record);
      renameSync(temp, record);
    }
  }

  /**
   * Removes what is left of a layer that dockerd was deleting when it was killed. It had moved the record aside, and
   * when a dockerd next ends, it deletes the folder that the cache-id in it names (moby, layer/filestore.go,
   * getOrphan). The layer that we have put back has the same cache-id.
   */
  #dropOrphans(chain: ChainID): void {
    this.#orphans ??= namesIn(this.#paths.layers).filter((name) => name.endsWith('-removing'));
    for (const name of this.#orphans) {
      const folder = `${this.#paths.layers}/${name}`;
      const isOurs =
        name.startsWith(`${hexOf(chain)}-`) &&
        readTextIfThere(`${folder}/cache-id`)?.trim() === ownLayerNames(chain).cacheId;
      if (isOurs) rmSync(folder, { recursive: true, force: true });
    }
  }

  #temp(chain: ChainID): string {
    return `${this.#paths.layersTemp}/${TEMP}${hexOf(chain)}`;
  }
}
