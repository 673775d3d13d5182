import { existsSync, mkdirSync, rmdirSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { hexOf, type ChainID } from '../docker/ids.ts';
import { delay, wallMs } from '../system/clock.ts';
import { isEEXIST, isENOENT, isENOTDIR, messageOf } from '../system/errors.ts';
import { linkTarget } from '../system/read-files.ts';
import { replaceLink, syncFolder } from '../system/write-files.ts';
import { allDone, AtOnce } from './at-once.ts';
import type { Namespace } from './api/containerd-api.ts';
import { hasStatus } from './api/grpc-error.ts';
import type { LinkFarm } from './link-farm.ts';
import { DISK, PATH } from './own-labels.ts';
import { LEASE_PREFIX, type ContainerdRoots } from './namespace-present.ts';
import { isSameRecord } from './own-records.ts';
import type { ImageRecord } from './api/services.ts';
import type { RefusedBlobs, Step } from './plan/namespace-steps.ts';

type StepOf<Do extends Step['do']> = Extract<Step, { readonly do: Do }>;

/** containerd syncs its databases at each change, and does some of that work at once. */
const CALLS_AT_ONCE = 16;
/**
 * A layer waits for the one below it, and each change for the one before it. More of these would hold up the layers.
 */
const CONTENT_AT_ONCE = 2;
/**
 * By then, all snapshots that were begun at once and have failed have removed the folder. Later it may be another's.
 */
const LEFTOVER_MS = 200;
/** A run takes seconds. After this time, containerd collects what a killed run has begun. */
const LEASE_MS = 3600_000;
/** How often a blob is linked again if containerd collects it before it knows of it. */
const LINK_ATTEMPTS = 10;

/** Steps that make what nothing refers to yet. */
const makes: ReadonlySet<Step['do']> = new Set([
  'make-layer',
  'write-content',
  'link-blob',
  'label-content',
  'create-image',
  'replace-image',
]);

export interface ApplyOptions {
  readonly roots: ContainerdRoots;
  readonly farm: LinkFarm;
  /** Called once, before images change and after all else is there. */
  readonly beforeImages?: () => void;
}

/**
 * Carries out a plan's steps in a namespace. Nothing else changes one. This program and containerd may be killed
 * between any two calls, because each step can be done again. A lease keeps what is made from being collected before an
 * image refers to it.
 * @returns blobs that containerd refused, by digest, with what it said. The rest is done all the same
 * @throws GrpcError, system errors of the first other step that fails
 */
export async function applySteps(
  namespace: Namespace,
  steps: readonly Step[],
  options: ApplyOptions,
): Promise<RefusedBlobs> {
  const applier = new Applier(namespace, options);
  if (steps.length > 0) await applier.run(steps);
  return applier.refused;
}

class Applier {
  readonly refused = new Map<string, string>();
  readonly #namespace: Namespace;
  readonly #roots: ContainerdRoots;
  readonly #farm: LinkFarm;
  readonly #beforeImages: () => void;
  readonly #atOnce = new AtOnce(CALLS_AT_ONCE);
  readonly #contentAtOnce = new AtOnce(CONTENT_AT_ONCE);
  /** Folders in which a link is new. */
  readonly #unsynced = new Set<string>();
  readonly #lease = `${LEASE_PREFIX}${process.pid}`;

  constructor(namespace: Namespace, { roots, farm, beforeImages = () => undefined }: ApplyOptions) {
    this.#namespace = namespace;
    this.#roots = roots;
    this.#farm = farm;
    this.#beforeImages = beforeImages;
  }

  async run(steps: readonly Step[]): Promise<void> {
    const of = <Do extends Step['do']>(what: Do): StepOf<Do>[] =>
      steps.filter((step): step is StepOf<Do> => step.do === what);
    for (const { path, target } of of('mend-link')) this.#mendLink(path, target);
    const isLeased = steps.some((step) => makes.has(step.do));
    if (isLeased) await this.#takeLease();
    try {
      try {
        this.#linkBlobs(of('link-blob'));
        await allDone([
          ...this.#layers(of('make-layer')),
          ...of('link-blob').map((step) => this.#contentAtOnce.run(() => this.#registerBlob(step))),
          ...of('write-content').map((step) => this.#contentAtOnce.run(() => this.#writeContent(step))),
          ...of('label-content').map(({ digest, labels }) =>
            this.#atOnce.run(() => this.#namespace.labelContent(digest, labels)),
          ),
        ]);
      } finally {
        this.#syncLinks();
      }
      this.#beforeImages();
      await allDone(of('create-image').map((step) => this.#atOnce.run(() => this.#createImage(step))));
      await allDone(of('replace-image').map((step) => this.#atOnce.run(() => this.#replaceImage(step))));
      await this.#deleteImages(of('delete-image'));
    } finally {
      if (isLeased) await this.#deleteLease(this.#lease);
    }
    for (const { id } of of('delete-lease')) if (id !== this.#lease) await this.#deleteLease(id);
  }

  /** If there is a lease of this name, a killed run has left it, which had our process ID. */
  async #takeLease(): Promise<void> {
    const expires = new Date(wallMs() + LEASE_MS);
    try {
      await this.#namespace.takeLease(this.#lease, expires);
    } catch (error) {
      if (!hasStatus(error, 'alreadyExists')) throw error;
      await this.#deleteLease(this.#lease);
      await this.#namespace.takeLease(this.#lease, expires);
    }
  }

  async #deleteLease(id: string): Promise<void> {
    await ignoring('notFound', () => this.#namespace.deleteLease(id));
  }

  /** Each layer after the one below. */
  #layers(steps: readonly StepOf<'make-layer'>[]): Promise<void>[] {
    const made = new Map<ChainID, Promise<void>>();
    for (const step of steps) {
      const below = step.parent === undefined ? undefined : made.get(step.parent);
      made.set(
        step.chain,
        (async () => {
          await below;
          await this.#atOnce.run(() => this.#makeLayer(step));
        })(),
      );
    }
    return [...made.values()];
  }

  async #makeLayer({ chain, parent, disk }: StepOf<'make-layer'>): Promise<void> {
    const key = `${this.#lease} ${chain}`;
    const folder = await this.#prepare(key, parent);
    const path = relative(this.#roots.snapshots, folder);
    if (!/^snapshots\/\d+\/fs$/.test(path))
      throw new Error(`expected a layer's folder below ${this.#roots.snapshots}/snapshots, found ${folder}`);
    this.#link(folder, this.#farm.layer(chain));
    try {
      await this.#namespace.commitSnapshot(
        key,
        chain,
        new Map([
          [DISK, disk],
          [PATH, path],
        ]),
      );
    } catch (error) {
      // A pull has been faster, so the layer is the user's.
      if (!hasStatus(error, 'alreadyExists')) throw error;
      await this.#namespace.removeSnapshot(key);
    }
  }

  /**
   * Tries once more if the name or the folder is there already. A containerd that is killed while it begins a snapshot
   * leaves the snapshot's folder, and later gives its number to the next snapshot. That one fails, and then containerd
   * removes the folder (containerd, plugins/snapshots/overlay, createSnapshot).
   */
  async #prepare(key: string, parent: ChainID | undefined): Promise<string> {
    try {
      return await this.#namespace.prepareSnapshot(key, parent);
    } catch (error) {
      if (hasStatus(error, 'alreadyExists')) await this.#namespace.removeSnapshot(key);
      else if (/failed to rename: .*: file exists/.test(messageOf(error))) await delay(LEFTOVER_MS);
      else throw error;
      return this.#namespace.prepareSnapshot(key, parent);
    }
  }

  /** A snapshot that was collected since the plan was made has no folder any more. The next plan does not have it. */
  #mendLink(path: string, target: string): void {
    try {
      this.#link(path, target);
    } catch (error) {
      if (!isENOENT(error)) throw error;
    }
  }

  /** A link in the place of an empty folder, of another link, or of nothing. */
  #link(path: string, target: string): void {
    try {
      rmdirSync(path);
    } catch (error) {
      if (!isENOENT(error) && !isENOTDIR(error)) throw error;
    }
    replaceLink(path, target);
    this.#unsynced.add(dirname(path));
  }

  /**
   * Everything is synced before the image is made, so that after a power cut an image has all that it needs. The next
   * run mends a link that was lost before. Syncing the first folder makes the filesystem write what is new in all of
   * them. If each folder was synced by itself, between containerd's own changes, each would wait for that.
   */
  #syncLinks(): void {
    for (const folder of this.#unsynced) {
      try {
        syncFolder(folder);
      } catch (error) {
        // The snapshot was collected meanwhile.
        if (!isENOENT(error)) throw error;
      }
    }
    this.#unsynced.clear();
  }

  /** A blob that another namespace already has in the store stays as it is. */
  #linkBlobs(steps: readonly StepOf<'link-blob'>[]): void {
    if (steps.length === 0) return;
    const folder = join(this.#roots.content, 'blobs/sha256');
    mkdirSync(folder, { recursive: true, mode: 0o755 });
    for (const { digest } of steps) this.#linkBlob(digest);
    this.#unsynced.add(folder);
  }

  #linkBlob(digest: string): void {
    const path = this.#blobPath(digest);
    try {
      symlinkSync(this.#farm.blob(digest), path);
    } catch (error) {
      if (!isEEXIST(error)) throw error;
      if (linkTarget(path) !== undefined) replaceLink(path, this.#farm.blob(digest));
    }
  }

  #blobPath(digest: string): string {
    return join(this.#roots.content, 'blobs/sha256', hexOf(digest));
  }

  /**
   * containerd's collection removes a file that containerd does not know yet. Then this tries once more. While the user
   * prunes, or loads many images, that happens again and again.
   */
  async #registerBlob(step: StepOf<'link-blob'>): Promise<void> {
    const { digest } = step;
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#makeKnown(step);
        return;
      } catch (error) {
        const isCollected = linkTarget(this.#blobPath(digest)) === undefined && !existsSync(this.#blobPath(digest));
        await this.#namespace.abortWrite(digest);
        this.#linkBlob(digest);
        if (attempt === 1 || (isCollected && attempt < LINK_ATTEMPTS)) continue;
        // Another disk or another namespace has a file of another size under this digest.
        if (isCollected || !hasStatus(error, 'failedPrecondition', 'outOfRange', 'invalid')) throw error;
        this.refused.set(digest, messageOf(error));
        return;
      }
    }
  }

  async #makeKnown({ digest, sizeBytes, disk }: StepOf<'link-blob'>): Promise<void> {
    const isLink = linkTarget(this.#blobPath(digest)) === this.#farm.blob(digest);
    const labels = new Map(
      isLink
        ? [
            [DISK, disk],
            [PATH, `blobs/sha256/${hexOf(digest)}`],
          ]
        : [],
    );
    await ignoring('alreadyExists', () =>
      this.#namespace.writeContent({ digest, sizeBytes, content: undefined, labels }),
    );
  }

  async #writeContent({ digest, content, labels }: StepOf<'write-content'>): Promise<void> {
    await ignoring('alreadyExists', () =>
      this.#namespace.writeContent({ digest, sizeBytes: content.length, content, labels }),
    );
  }

  /** An image that came meanwhile is the user's. */
  async #createImage({ image }: StepOf<'create-image'>): Promise<void> {
    await ignoring('alreadyExists', () => this.#namespace.createImage(image));
  }

  async #replaceImage({ before, image }: StepOf<'replace-image'>): Promise<void> {
    if (await this.#deleteAsItWas(before, false))
      await ignoring('alreadyExists', () => this.#namespace.createImage(image));
  }

  /** The last deletion also waits until all that nothing refers to any more is gone. */
  async #deleteImages(steps: readonly StepOf<'delete-image'>[]): Promise<void> {
    for (const [index, { before }] of steps.entries()) await this.#deleteAsItWas(before, index === steps.length - 1);
  }

  /**
   * Deletes a record if it is still as the plan has it. Making layers takes time, and the user may have given the name
   * to something else meanwhile. That is the user's, and the next plan has it. @returns whether the record is gone
   */
  async #deleteAsItWas(before: ImageRecord, sync: boolean): Promise<boolean> {
    const { name, target } = before;
    const now = await this.#namespace.image(name);
    if (now === undefined || target === undefined) return true;
    if (!isSameRecord(now, before)) return false;
    await ignoring('notFound', () => this.#namespace.deleteImage(name, target, sync));
    return true;
  }
}

/** What is there already, or gone already, is as it should be. */
async function ignoring(status: 'alreadyExists' | 'notFound', action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (!hasStatus(error, status)) throw error;
  }
}
