import { mkdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { metadataPaths, type MetadataPaths } from '../../docker/layer-db.ts';
import { FILE, FOLDER, HOME_MODE, LINKS_MODE, PRIVATE_FILE, PRIVATE_FOLDER } from './modes.ts';
import { emptyLayer, isCacheId, linkTargetOf, overlayPaths, type OwnLayerNames } from '../../docker/layer-folders.ts';
import type { ImageID } from '../../docker/ids.ts';
import { OWN_IMAGE_SEC } from '../../docker/image-config.ts';
import { DockerStarted, isDockerRunning, lastStarted } from '../../docker/instance.ts';
import { isDirectory, readIfThere, readTextIfThere } from '../../system/read-files.ts';
import {
  ensureFolder,
  makeFolder,
  moveInPlace,
  prepareFile,
  removeIfThere,
  replaceFile,
  replaceLink,
  writeNewFile,
} from '../../system/write-files.ts';
import { readMounts, unmount, type MountPoint } from '../../system/mount.ts';
import { LayerRecords } from './layer-records.ts';
import { preparedNames, removeLedger, writeLedger } from '../store/ledger.ts';
import type { Step } from '../plan/steps.ts';

/** Steps that do no harm while dockerd runs. What they replace has the same content afterwards. */
const adds: ReadonlySet<Step['do']> = new Set([
  'write-ledger',
  'make-empty-layer',
  'link-layer',
  'record-layer',
  'pin-layer',
  'store-image',
  'write-distribution',
]);

/**
 * Carries out a plan's steps on the store. It is the only place that writes to it. It may be killed between any two
 * calls: each step can be done again, what is under a user's image or container is never absent, and dockerd starts on
 * whatever is there. If a step fails, what this run has added is taken away again, as long as no name leads to it,
 * because a data root that is full must not stay full. If dockerd has been started meanwhile, nothing that it has or
 * may have read is replaced or removed any more, because the plan was made for the store as it was before.
 * @param started when dockerd was last started, asked before the plan was made
 * @throws system errors, of the first step that fails; DiskFault where the fault is a disk's; DockerStarted
 */
export function apply(
  dataRoot: string,
  steps: readonly Step[],
  started: number | undefined = lastStarted(dataRoot),
): void {
  if (steps.length === 0) return;
  // The umask that dockerd has. With another, each file would need one more call for its mode.
  const umask = process.umask(0o022);
  try {
    new Applier(dataRoot, started).run(steps);
  } finally {
    process.umask(umask);
  }
}

class Applier {
  readonly #dataRoot: string;
  readonly #paths: MetadataPaths;
  readonly #overlay: ReturnType<typeof overlayPaths>;
  readonly #records: LayerRecords;
  readonly #folders = new Set<string>();
  readonly #started: number | undefined;
  #mounts: readonly MountPoint[] | undefined;
  /** How to take away what this run has added, as long as nothing of the user's can stand on it. */
  #added: (() => void)[] = [];

  constructor(dataRoot: string, started: number | undefined) {
    this.#dataRoot = dataRoot;
    this.#started = started;
    this.#paths = metadataPaths(dataRoot);
    this.#overlay = overlayPaths(dataRoot);
    this.#records = new LayerRecords(this.#paths, (path, mode) => this.#ensure(path, mode));
  }

  run(steps: readonly Step[]): void {
    this.#refuseStarted();
    this.#records.clearTemp();
    try {
      for (let at = 0; at < steps.length; at += 1) {
        const [step, next] = [steps[at], steps[at + 1]];
        if (step?.do === 'write-references' && next?.do === 'write-ledger') {
          // The names are in place before the ledger is.
          this.#writeLedger(next, () => this.#take(step));
          at += 1;
        } else if (step !== undefined) this.#take(step);
      }
      // What a killed run has prepared, or was copied. The ledger no longer needs to be told by it.
      removeIfThere(preparedNames(this.#dataRoot));
    } catch (error) {
      if (!this.#hasStarted()) this.#takeBack();
      throw error;
    }
  }

  #take(step: Step): void {
    if (!adds.has(step.do)) this.#refuseStarted();
    this.#do(step);
  }

  #hasStarted(): boolean {
    return isDockerRunning(this.#dataRoot) || lastStarted(this.#dataRoot) !== this.#started;
  }

  #refuseStarted(): void {
    if (this.#hasStarted()) throw new DockerStarted(this.#dataRoot);
  }

  /** Begins with the last. Wherever this ends, the store is as after a kill at an earlier moment. */
  #takeBack(): void {
    try {
      for (const takeAway of this.#added.toReversed()) takeAway();
    } catch {
      // What made the run fail may make this fail, too. The next run goes on from there.
    }
  }

  #do(step: Step): void {
    switch (step.do) {
      case 'write-ledger':
        return this.#writeLedger(step);
      case 'make-empty-layer':
        return this.#makeEmptyLayer();
      case 'link-layer':
        return this.#linkLayer(step);
      case 'record-layer':
        return step.mend ? this.#records.mend(step) : this.#recordLayer(step);
      case 'pin-layer':
        return this.#pinLayer(step);
      case 'unpin-layer':
        return rmSync(this.#paths.mount(step.name), { recursive: true, force: true });
      case 'store-image':
        return this.#storeImage(step);
      case 'write-distribution':
        return this.#writeDistribution(step);
      case 'write-references':
        return this.#writeReferences(step);
      case 'remove-image':
        return this.#removeImage(step.id);
      case 'remove-layer':
        return this.#removeLayer(step);
      case 'remove-empty-layer':
        return this.#removeOverlay(emptyLayer);
      case 'remove-distribution':
        return removeIfThere(join(this.#paths.root, step.path));
      case 'remove-ledger':
        return removeLedger(this.#dataRoot);
    }
  }

  #ensure(path: string, mode: number): void {
    if (this.#folders.has(path)) return;
    ensureFolder(path, mode);
    this.#folders.add(path);
  }

  /** Makes the folders that dockerd would make, with the same modes. */
  #ensureHome(): void {
    this.#ensure(this.#dataRoot, HOME_MODE);
    this.#ensure(this.#overlay.home, HOME_MODE);
    this.#ensure(join(this.#overlay.home, 'l'), LINKS_MODE);
  }

  #makeEmptyLayer(): void {
    this.#ensureHome();
    const folder = this.#overlay.layer(emptyLayer.cacheId);
    if (makeFolder(folder, HOME_MODE)) this.#added.push(() => this.#removeOverlay(emptyLayer));
    this.#ensure(join(folder, 'diff'), 0o755);
    this.#finishOverlay(emptyLayer, undefined);
  }

  #linkLayer({ names, diffPath, lower }: Extract<Step, { do: 'link-layer' }>): void {
    this.#ensureHome();
    const folder = this.#overlay.layer(names.cacheId);
    if (makeFolder(folder, HOME_MODE)) return this.#fillNewLayer(folder, names, diffPath, lower);
    replaceLink(`${folder}/diff`, diffPath);
    this.#finishOverlay(names, lower);
  }

  /** Makes a layer's folder. Without a record, dockerd does not take it for a layer, so half of it does no harm. */
  #fillNewLayer(folder: string, names: OwnLayerNames, diffPath: string, lower: string): void {
    this.#added.push(() => this.#removeOverlay(names));
    symlinkSync(diffPath, `${folder}/diff`);
    mkdirSync(`${folder}/work`, { mode: PRIVATE_FOLDER });
    writeNewFile(`${folder}/link`, names.link, FILE);
    writeNewFile(`${folder}/lower`, lower, FILE);
    writeNewFile(`${folder}/committed`, '', PRIVATE_FILE);
    replaceLink(this.#overlay.link(names.link), linkTargetOf(names.cacheId));
  }

  #finishOverlay(names: OwnLayerNames, lower: string | undefined): void {
    const folder = this.#overlay.layer(names.cacheId);
    this.#ensure(`${folder}/work`, PRIVATE_FOLDER);
    this.#writeDerived(`${folder}/link`, names.link, FILE);
    if (lower !== undefined) this.#writeDerived(`${folder}/lower`, lower, FILE);
    // dockerd writes it with the first child. Without it, it would mount the read-only diff as an upper (overlay.go,
    // get).
    this.#writeDerived(`${folder}/committed`, '', PRIVATE_FILE);
    replaceLink(this.#overlay.link(names.link), linkTargetOf(names.cacheId));
  }

  /** Writes in one step what can be derived again from a preload disk, without waiting for it to be durable. */
  #writeDerived(path: string, content: string, mode: number): void {
    if (readTextIfThere(path) === content) return;
    this.#ensure(dirname(path), PRIVATE_FOLDER);
    replaceFile(path, content, { mode, durable: false });
  }

  #recordLayer(step: Extract<Step, { do: 'record-layer' }>): void {
    this.#records.add(step);
    this.#added.push(() => this.#records.remove(step.chain));
  }

  #writeDistribution({ path, content }: Extract<Step, { do: 'write-distribution' }>): void {
    const file = join(this.#paths.root, path);
    const present = readTextIfThere(file);
    if (present === content) return;
    if (present === undefined) this.#added.push(() => removeIfThere(file));
    this.#ensure(dirname(file), PRIVATE_FOLDER);
    replaceFile(file, content, { mode: FILE, durable: false });
  }

  #writeLedger({ ledger, final, names }: Extract<Step, { do: 'write-ledger' }>, before?: () => void): void {
    const prepare =
      names === undefined ? before : () => prepareFile(preparedNames(this.#dataRoot), names, PRIVATE_FILE);
    writeLedger(this.#dataRoot, ledger, final ? 'content' : true, prepare);
  }

  /** Puts repositories.json in place. From here on, names lead to what was added. */
  #writeReferences({ text }: Extract<Step, { do: 'write-references' }>): void {
    const path = this.#paths.repositories;
    this.#ensure(dirname(path), PRIVATE_FOLDER);
    try {
      moveInPlace(preparedNames(this.#dataRoot), path, PRIVATE_FILE);
    } catch (error) {
      // The file may be in place although this failed, and only not be known to be durable.
      if (readTextIfThere(path) === text) this.#added = [];
      throw error;
    }
    this.#added = [];
  }

  /**
   * Writes a pin. Half of one does no harm: dockerd ignores it without a whole mount-id or parent (layer_store.go,
   * loadMount).
   */
  #pinLayer({ chain, name }: Extract<Step, { do: 'pin-layer' }>): void {
    this.#ensure(this.#paths.containers, FOLDER);
    const folder = this.#paths.mount(name);
    const files = [
      ['mount-id', name],
      ['parent', chain],
    ] as const;
    const isNew = makeFolder(folder, FOLDER);
    if (isNew) this.#added.push(() => rmSync(folder, { recursive: true, force: true }));
    for (const [file, content] of files) {
      if (isNew) writeNewFile(`${folder}/${file}`, content, FILE);
      else this.#writeDerived(`${folder}/${file}`, content, FILE);
    }
  }

  #storeImage({ id, own, config, metadata }: Extract<Step, { do: 'store-image' }>): void {
    const folder = this.#paths.imageMetadata(id);
    const present = readIfThere(this.#paths.image(id));
    if (present === undefined) this.#added.push(() => this.#removeImage(id));
    if (metadata.size > 0) this.#ensure(folder, PRIVATE_FOLDER);
    for (const [name, content] of metadata)
      replaceFile(`${folder}/${name}`, content, { mode: PRIVATE_FILE, durable: false });
    this.#ensure(this.#paths.images, PRIVATE_FOLDER);
    // The user may already have the image, and only its metadata is new. Then his file is left alone.
    if (present?.equals(config) !== true)
      replaceFile(this.#paths.image(id), config, {
        mode: PRIVATE_FILE,
        durable: false,
        ...(own ? { modifiedSec: OWN_IMAGE_SEC } : {}),
      });
  }

  #removeImage(id: ImageID): void {
    rmSync(this.#paths.imageMetadata(id), { recursive: true, force: true });
    removeIfThere(this.#paths.image(id));
  }

  /**
   * Removes the record first, in one step. A record without files would be a layer that dockerd lists and cannot mount.
   */
  #removeLayer({ chain, names }: Extract<Step, { do: 'remove-layer' }>): void {
    const record = this.#paths.layer(chain);
    const recorded = readTextIfThere(`${record}/cache-id`)?.trim() ?? '';
    const isUsers = recorded !== names.cacheId && isCacheId(recorded) && isDirectory(this.#overlay.layer(recorded));
    // A power cut may leave a record without a whole cache-id. dockerd ignores it, but a pull would fail on it.
    if (isDirectory(record) && !isUsers) this.#records.remove(chain);
    this.#removeOverlay(names);
  }

  #removeOverlay(names: OwnLayerNames): void {
    removeIfThere(this.#overlay.link(names.link));
    const folder = this.#overlay.layer(names.cacheId);
    if (!isDirectory(folder)) return;
    // If dockerd was killed while it saved an image or built on one, `merged` is still mounted (overlay.go, Get).
    this.#mounts ??= readMounts();
    const real = `${realpathSync(folder)}/`;
    for (const { path } of this.#mounts.filter((mount) => mount.path.startsWith(real)).toReversed())
      unmount(path, true);
    // Removes the symlink `diff`, never what it points to.
    rmSync(folder, { recursive: true, force: true });
  }
}
