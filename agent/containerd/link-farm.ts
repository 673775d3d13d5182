import { join } from 'node:path';
import { hexOf } from '../docker/ids.ts';
import { linkTarget, namesIn } from '../system/read-files.ts';
import { ensureFolder, removeIfThere, replaceLink } from '../system/write-files.ts';

/**
 * Links to the layers and blobs of the attached disks, by digest. containerd's store points here and nowhere else. If a
 * disk is mounted at another place, or if another disk has the layer, only these links change.
 */
export class LinkFarm {
  readonly #root: string;

  /** @param root a folder of our own, below /run */
  constructor(root: string) {
    this.#root = root;
  }

  /** Where a layer's files are. */
  layer(chain: string): string {
    return join(this.#root, 'layers', hexOf(chain));
  }

  blob(digest: string): string {
    return join(this.#root, 'blobs', hexOf(digest));
  }

  /** How many links are to be made, changed or removed. */
  changes(links: ReadonlyMap<string, string>): number {
    return this.#differing(links).length + this.#stale(links).length;
  }

  /**
   * Makes the farm have these links and no others. Each is replaced in one step.
   * @param links path of the link, as `layer` and `blob` give it, to what it leads to
   * @returns how many were made, changed or removed
   * @throws system errors
   */
  fill(links: ReadonlyMap<string, string>): number {
    // Only root has to get to a disk in this way.
    if (links.size > 0) for (const folder of ['layers', 'blobs']) ensureFolder(join(this.#root, folder), 0o700);
    const differing = this.#differing(links);
    for (const [path, target] of differing) replaceLink(path, target);
    return differing.length + this.keepOnly(links);
  }

  /** Removes all links but these. @returns how many were removed @throws system errors */
  keepOnly(links: Pick<ReadonlySet<string>, 'has'>): number {
    const stale = this.#stale(links);
    for (const path of stale) removeIfThere(path);
    return stale.length;
  }

  #differing(links: ReadonlyMap<string, string>): (readonly [path: string, target: string])[] {
    return [...links].filter(([path, target]) => linkTarget(path) !== target);
  }

  #stale(links: Pick<ReadonlySet<string>, 'has'>): string[] {
    return ['layers', 'blobs'].flatMap((folder) =>
      namesIn(join(this.#root, folder))
        .map((name) => join(this.#root, folder, name))
        .filter((path) => !links.has(path)),
    );
  }
}
