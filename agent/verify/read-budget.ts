import { MAX_EXPANSION } from '../disk/limits.ts';
import type { FolderContent } from '../disk/filesystem-reader.ts';

/** A floor for disks of a few blocks. */
const MIN_DISK_BYTES = 64 * 1024;

/**
 * How much may be read of a disk in all: files with holes, and many names of one file, claim any size, and what reads
 * them all would not end. What no budget is for, of one's own, has none.
 */
export class ReadBudget {
  readonly #diskBytes: number;
  #left: number;

  /** @param diskBytes what the disk takes itself, holes left out where that can be told */
  constructor(diskBytes: number) {
    this.#diskBytes = Math.max(diskBytes, MIN_DISK_BYTES);
    this.#left = this.#diskBytes * MAX_EXPANSION;
  }

  /** Called before the bytes are read. @throws Error where they are too many */
  spend(bytes: number): void {
    if (bytes > this.#left)
      throw new Error(
        `expected contents of at most ${MAX_EXPANSION} times the disk's ${this.#diskBytes} bytes, found more: its files are mostly holes, and are not read`,
      );
    this.#left -= bytes;
  }

  /** The files, each read within the budget. */
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
