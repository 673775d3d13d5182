import { copyFileSync, existsSync, mkdirSync, realpathSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { metadataPaths, TAR_SPLIT, type MetadataPaths } from '../docker/layer-db.ts';
import { emptyLayer, isCacheId, linkTargetOf, overlayPaths, type OwnLayerNames } from '../docker/overlay2.ts';
import { hexOf } from '../docker/ids.ts';
import { OWN_IMAGE_SEC } from '../docker/image-config.ts';
import { isENOTDIR } from '../system/errors.ts';
import { ensureFolder, haveSameContent, isDirectory, makeFolder, readIfThere, readTextIfThere, removeIfThere, replaceFile, replaceLink, writeNewFile } from '../system/files.ts';
import { readMounts, unmount, type MountPoint } from '../system/mount.ts';
import { removeLedger, writeLedger } from './ledger.ts';
import type { Step } from './steps.ts';

/** Modes that dockerd itself gives (moby, overlay2/overlay.go, layer/filestore.go, image/fs.go). */
const FOLDER = 0o755;
const HOME_MODE = 0o710;
const LINKS_MODE = 0o700;
const PRIVATE_FOLDER = 0o700;
const FILE = 0o644;
const PRIVATE_FILE = 0o600;

/**
 * Carries out a plan's steps on the store: the only place that writes to it. It may be killed between any two calls:
 * each step can be done again, what is under a user's image or container is never absent, and dockerd starts on
 * whatever is there.
 * @throws system errors, of the first step that fails
 */
export function apply(dataRoot: string, steps: readonly Step[]): void {
  if (steps.length === 0) return;
  // dockerd's own: without it, each file would need a call more for its mode.
  const umask = process.umask(0o022);
  try {
    new Applier(dataRoot).run(steps);
  } finally {
    process.umask(umask);
  }
}

class Applier {
  readonly #dataRoot: string;
  readonly #paths: MetadataPaths;
  readonly #overlay: ReturnType<typeof overlayPaths>;
  readonly #folders = new Set<string>();
  #mounts: readonly MountPoint[] | undefined;

  constructor(dataRoot: string) {
    this.#dataRoot = dataRoot;
    this.#paths = metadataPaths(dataRoot);
    this.#overlay = overlayPaths(dataRoot);
  }

  run(steps: readonly Step[]): void {
    for (const step of steps) this.#do(step);
  }

  #do(step: Step): void {
    switch (step.do) {
      case 'write-ledger':
        return writeLedger(this.#dataRoot, step.ledger, step.final ? 'content' : true);
      case 'make-empty-layer':
        return this.#makeEmptyLayer();
      case 'link-layer':
        return this.#linkLayer(step);
      case 'record-layer':
        return step.mend ? this.#mendRecord(step) : this.#recordLayer(step);
      case 'pin-layer':
        return this.#pinLayer(step);
      case 'unpin-layer':
        return rmSync(this.#paths.mount(step.name), { recursive: true, force: true });
      case 'store-image':
        return this.#storeImage(step);
      case 'write-distribution':
        return this.#writeDerived(join(this.#paths.root, step.path), step.content, FILE);
      case 'write-references':
        this.#ensure(dirname(this.#paths.repositories), PRIVATE_FOLDER);
        return replaceFile(this.#paths.repositories, step.text, { mode: PRIVATE_FILE, durable: true });
      case 'remove-image':
        rmSync(this.#paths.imageMetadata(step.id), { recursive: true, force: true });
        return removeIfThere(this.#paths.image(step.id));
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

  /** dockerd would make these with the same modes. */
  #ensureHome(): void {
    this.#ensure(this.#dataRoot, HOME_MODE);
    this.#ensure(this.#overlay.home, HOME_MODE);
    this.#ensure(join(this.#overlay.home, 'l'), LINKS_MODE);
  }

  #makeEmptyLayer(): void {
    this.#ensureHome();
    const folder = this.#overlay.layer(emptyLayer.cacheId);
    this.#ensure(folder, HOME_MODE);
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

  /** To dockerd it is no layer before its record is there: half of it does no harm, and the next run completes it. */
  #fillNewLayer(folder: string, names: OwnLayerNames, diffPath: string, lower: string): void {
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
    // dockerd would write it with the first child; without it, it mounts the read-only diff as an upper (overlay.go, get).
    this.#writeDerived(`${folder}/committed`, '', PRIVATE_FILE);
    replaceLink(this.#overlay.link(names.link), linkTargetOf(names.cacheId));
  }

  /** Writes what can be derived again from a disk: in one step, but without waiting for the disk to have it. */
  #writeDerived(path: string, content: string | Buffer, mode: number): void {
    if (typeof content === 'string' && readTextIfThere(path) === content) return;
    this.#ensure(dirname(path), PRIVATE_FOLDER);
    replaceFile(path, content, { mode, durable: false });
  }

  /** As dockerd does: made in a folder beside, then renamed, so that no half record ever has the layer's name. */
  #recordLayer({ chain, files, tarSplitPath }: Extract<Step, { do: 'record-layer' }>): void {
    this.#ensure(this.#paths.layers, PRIVATE_FOLDER);
    this.#ensure(this.#paths.layersTemp, PRIVATE_FOLDER);
    const temp = `${this.#paths.layersTemp}/docker-preloader-${hexOf(chain)}`;
    if (!makeFolder(temp, 0o755)) {
      rmSync(temp, { recursive: true });
      mkdirSync(temp, { mode: 0o755 });
    }
    for (const [name, content] of files) writeNewFile(`${temp}/${name}`, content, FILE);
    if (tarSplitPath !== undefined) copyFileSync(tarSplitPath, `${temp}/${TAR_SPLIT}`);
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

  /** A user's image may stand on the layer, so its record stays in place while its files are replaced. */
  #mendRecord({ chain, files, tarSplitPath }: Extract<Step, { do: 'record-layer' }>): void {
    this.#ensure(this.#paths.layersTemp, PRIVATE_FOLDER);
    const folder = this.#paths.layer(chain);
    const tempPath = `${this.#paths.layersTemp}/docker-preloader-mend`;
    for (const [name, content] of files) {
      if (readTextIfThere(`${folder}/${name}`) !== content) replaceFile(`${folder}/${name}`, content, { mode: FILE, durable: false, tempPath });
    }
    if (tarSplitPath === undefined || (existsSync(`${folder}/${TAR_SPLIT}`) && haveSameContent(`${folder}/${TAR_SPLIT}`, tarSplitPath))) return;
    copyFileSync(tarSplitPath, tempPath);
    renameSync(tempPath, `${folder}/${TAR_SPLIT}`);
  }

  /** Half a pin does no harm: dockerd passes over one without a whole mount-id or parent (layer_store.go, loadMount). */
  #pinLayer({ chain, name }: Extract<Step, { do: 'pin-layer' }>): void {
    this.#ensure(this.#paths.containers, FOLDER);
    const folder = this.#paths.mount(name);
    const files = [['mount-id', name], ['parent', chain]] as const;
    const isNew = makeFolder(folder, FOLDER);
    for (const [file, content] of files) {
      if (isNew) writeNewFile(`${folder}/${file}`, content, FILE);
      else this.#writeDerived(`${folder}/${file}`, content, FILE);
    }
  }

  #storeImage({ id, own, config, metadata }: Extract<Step, { do: 'store-image' }>): void {
    const folder = this.#paths.imageMetadata(id);
    if (metadata.size > 0) this.#ensure(folder, PRIVATE_FOLDER);
    for (const [name, content] of metadata) replaceFile(`${folder}/${name}`, content, { mode: PRIVATE_FILE, durable: false });
    this.#ensure(this.#paths.images, PRIVATE_FOLDER);
    // The user may have the image already, only its metadata being new: his file is left alone.
    if (readIfThere(this.#paths.image(id))?.equals(config) !== true) replaceFile(this.#paths.image(id), config, { mode: PRIVATE_FILE, durable: false, ...(own ? { modifiedSec: OWN_IMAGE_SEC } : {}) });
  }

  /** The record goes first, in one step: a record without its files would be a layer that dockerd lists and cannot mount. */
  #removeLayer({ chain, names }: Extract<Step, { do: 'remove-layer' }>): void {
    const record = this.#paths.layer(chain);
    const temp = `${this.#paths.layersTemp}/docker-preloader-${hexOf(chain)}`;
    // What an interrupted run has left.
    rmSync(temp, { recursive: true, force: true });
    const recorded = readTextIfThere(`${record}/cache-id`)?.trim() ?? '';
    const isUsers = recorded !== names.cacheId && isCacheId(recorded) && isDirectory(this.#overlay.layer(recorded));
    // Without a whole cache-id, as a power cut leaves it, it is no layer to dockerd, and would be in the way of a pull.
    if (isDirectory(record) && !isUsers) {
      this.#ensure(this.#paths.layersTemp, PRIVATE_FOLDER);
      renameSync(record, temp);
      rmSync(temp, { recursive: true, force: true });
    }
    this.#removeOverlay(names);
  }

  #removeOverlay(names: OwnLayerNames): void {
    removeIfThere(this.#overlay.link(names.link));
    const folder = this.#overlay.layer(names.cacheId);
    if (!isDirectory(folder)) return;
    // A dockerd that was killed while it saved an image, or built on one, leaves `merged` mounted (overlay.go, Get).
    this.#mounts ??= readMounts();
    const real = `${realpathSync(folder)}/`;
    for (const { path } of this.#mounts.filter((mount) => mount.path.startsWith(real)).toReversed()) unmount(path, true);
    // Removes the symlink `diff`, never what it points to.
    rmSync(folder, { recursive: true, force: true });
  }
}
