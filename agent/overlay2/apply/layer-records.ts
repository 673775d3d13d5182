import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { hexOf, type ChainID } from '../../docker/ids.ts';
import { TAR_SPLIT, type MetadataPaths } from '../../docker/layer-db.ts';
import { FILE, FOLDER, PRIVATE_FOLDER } from './modes.ts';
import { ownLayerNames } from '../../docker/layer-folders.ts';
import { isENOTDIR } from '../../system/errors.ts';
import {
  moveTemp,
  namesIn,
  readTextIfThere,
  removeIfThere,
  replaceFile,
  withoutTemp,
  writeNewFile,
} from '../../system/files.ts';
import { copyTarSplit, isCopyOf } from '../store/copy-tar-split.ts';
import type { Step } from '../plan/steps.ts';

type RecordStep = Extract<Step, { do: 'record-layer' }>;

/** What begins so in layerdb/tmp is ours. */
const TEMP = 'docker-preloader-';

/** Layers as dockerd knows them, `layerdb/`: written and removed on behalf of apply.ts, so that none is ever there by half. */
export class LayerRecords {
  readonly #paths: MetadataPaths;
  readonly #ensure: (folder: string, mode: number) => void;
  #orphans: readonly string[] | undefined;

  /** @param ensure makes a folder where it is not there yet */
  constructor(paths: MetadataPaths, ensure: (folder: string, mode: number) => void) {
    this.#paths = paths;
    this.#ensure = ensure;
  }

  /** What a run that was killed has left: perhaps what fills the data root. */
  clearTemp(): void {
    for (const name of namesIn(this.#paths.layersTemp)) {
      if (name.startsWith(TEMP)) rmSync(`${this.#paths.layersTemp}/${name}`, { recursive: true, force: true });
    }
  }

  /** As dockerd does: made in a folder beside, then renamed, so that no half record ever has the layer's name. */
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

  /** A user's image may stand on the layer, so its record stays in place while its files are replaced. */
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

  /** In one step: half a record would be a layer to dockerd. */
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
      // A symlink of the preloader of 2018: no layer to dockerd, but in the way.
      if (!isENOTDIR(error)) throw error;
      removeIfThere(record);
      renameSync(temp, record);
    }
  }

  /**
   * A dockerd that was killed while it deleted the layer finishes that when it ends, by the cache-id in the record that it
   * has moved aside (moby, layer/filestore.go, getOrphan): the layer that is there again has the same.
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
