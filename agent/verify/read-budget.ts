import { MAX_EXPANSION } from '../disk/limits.ts';
import type { FolderContent } from '../disk/filesystem-reader.ts';

/** The least that a disk counts, for disks of a few blocks. */
const MIN_DISK_BYTES = 64 * 1024;

/**
 * How much may be read of a disk in all. Files with holes, and many names for one file, can claim any size, and reading
 * them all would never end. Files of this machine's own have no budget.
 */
export class ReadBudget {
  readonly #diskBytes: number;
  #left: number;

  /** @param diskBytes what the disk takes itself, without holes if that can be told */
  constructor(diskBytes: number) {
    this.#diskBytes = Math.max(diskBytes, MIN_DISK_BYTES);
    this.#left = this.#diskBytes * MAX_EXPANSION;
  }

  /** To be called before bytes are read. @throws Error if they are too many */
  spend(bytes: number): void {
    if (bytes > this.#left)
      throw new Error(
        `expected contents of at most ${MAX_EXPANSION} times the disk's ${this.#diskBytes} bytes, found more: its files are mostly holes, and are not read`,
      );
    this.#left -= bytes;
  }

  /** The same files, read within the budget. */
  within(files: FolderContent): FolderContent {
    const spend = (bytes: number): void => this.spend(bytes);
    const sizeOf = (path: string): number | undefined => files.sizeOf(path);
    return {
      sizeOf,
      *pieces(path, start = 0, end = sizeOf(path) ?? 0) {
        spend(Math.max(end - start, 0));
        yield* files.pieces(path, start, end);
      },
    };
  }
}
