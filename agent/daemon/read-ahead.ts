import { constants } from 'node:fs';
import { lstat, open, type FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { MAX_READ_AHEAD_BYTES } from '../disk/limits.ts';
import { parseReadAhead, piecesWithin, READ_AHEAD_NAME, type ReadAheadFile } from '../disk/read-ahead-list.ts';
import { FolderReader } from '../disk/folder-reader.ts';
import { sha256, type ChainID } from '../docker/ids.ts';
import { monotonicUsec } from '../system/clock.ts';
import { isENAMETOOLONG, isENOENT, isENOTDIR, messageOf } from '../system/errors.ts';
import { readTextIfThere } from '../system/read-files.ts';
import { log } from '../system/journal.ts';
import { megabytes } from '../text/megabytes.ts';
import { PAGE_BYTES, willNeed } from '../system/will-need.ts';
import { plural } from '../text/plural.ts';
import type { LoadedDisk } from '../boot/loaded-disk.ts';

/** One call reads at most the device's read_ahead_kb, 128 by default (mm/readahead.c, force_page_cache_ra). */
const CALL_BYTES = 128 * 1024;
/** Opening a file reads folders and inodes, which has to be waited for, so several are opened at once. */
const FILES_AT_ONCE = 4;
const MEMORY_SHARE = 1 / 4;

/**
 * Asks the kernel to read the files in the disks' lists, disk by disk, and does not wait for the data. The lists are
 * not trusted: only regular files of the disk itself are opened, and no symlink is followed. Whatever goes wrong is
 * logged.
 * @param linked the layers that Docker has from a disk, with the disk's label: reading another disk's copy would be
 * useless
 * @param limitBytes for all disks together; at most a quarter of the available memory is used
 */
export async function readAhead(
  disks: readonly LoadedDisk[],
  linked: ReadonlyMap<ChainID, string>,
  limitBytes: number,
): Promise<void> {
  let budget: Budget | undefined;
  for (const disk of disks) {
    const { label } = disk.content;
    try {
      const start = monotonicUsec();
      budget ??= new Budget(Math.min(limitBytes, availableBytes() * MEMORY_SHARE));
      const done = await readDiskAhead(disk, linked, budget);
      if (done !== undefined)
        log('READ_AHEAD', `disk ${label}: ${done}`, { LABEL: label, MS: Math.round((monotonicUsec() - start) / 1000) });
    } catch (error) {
      log('NOT_READ_AHEAD', `disk ${label}: nothing more is read ahead, ignoring: ${messageOf(error)}`, {
        LABEL: label,
      });
    }
  }
}

/**
 * @returns what was done, in words; undefined if the disk has no list
 * @throws Error if the list is not valid, and system errors
 */
async function readDiskAhead(
  { mounted, content }: LoadedDisk,
  linked: ReadonlyMap<ChainID, string>,
  budget: Budget,
): Promise<string | undefined> {
  const bytes = new FolderReader(mounted.path).read(READ_AHEAD_NAME, MAX_READ_AHEAD_BYTES);
  if (bytes === undefined) return undefined;
  if (content.pinned && content.manifest?.metadata[READ_AHEAD_NAME] !== sha256(bytes))
    throw new Error(`${READ_AHEAD_NAME}: expected content with the digest that the manifest has, found another`);
  const json = bytes.toString('utf8');
  const folders = new Map<string, string>();
  for (const { chain, diffPath } of content.layers.values())
    if (linked.get(chain) === content.label) folders.set(chain, diffPath);
  const wanted = parseReadAhead(json, READ_AHEAD_NAME).layers.flatMap(({ chainId, files }) => {
    const folder = folders.get(chainId);
    return folder === undefined ? [] : files.map((file) => ({ folder, file }));
  });
  const { dev } = await lstat(mounted.path);
  const { bytes: asked, files, missing } = await new DiskReading(dev, budget).read(wanted);
  return [
    `${megabytes(asked)} of ${plural(files, 'file')} are read ahead`,
    ...(missing > 0
      ? [`${plural(missing, 'file')} of the list left out, which the disk has not as regular files`]
      : []),
    ...(budget.isEmpty ? ['the rest is left out, since no more memory may be filled'] : []),
  ].join('; ');
}

/** How many bytes may still be read. */
class Budget {
  #left: number;

  constructor(bytes: number) {
    this.#left = Math.floor(bytes / PAGE_BYTES) * PAGE_BYTES;
  }

  get isEmpty(): boolean {
    return this.#left === 0;
  }

  /** @returns how many of these bytes may be read */
  take(bytes: number): number {
    const taken = Math.min(bytes, this.#left);
    this.#left -= taken;
    return taken;
  }
}

interface Wanted {
  /** The layer's folder, which is a real folder of the disk. */
  readonly folder: string;
  readonly file: ReadAheadFile;
}

class DiskReading {
  bytes = 0;
  files = 0;
  missing = 0;
  readonly #device: number;
  readonly #budget: Budget;
  /** Whether a path is a real folder of the disk. Each is checked only once, because the disk is read-only. */
  readonly #folders = new Map<string, Promise<boolean>>();

  constructor(device: number, budget: Budget) {
    this.#device = device;
    this.#budget = budget;
  }

  /** @throws the first error other than a missing file, after all workers have ended */
  async read(wanted: readonly Wanted[]): Promise<this> {
    const failures: unknown[] = [];
    // All workers take their files from one iterator.
    const todo = wanted.values();
    const work = async (): Promise<void> => {
      for (const { folder, file } of todo) {
        if (this.#budget.isEmpty || failures.length > 0) return;
        await this.#readFile(folder, file).catch((error: unknown) => failures.push(error));
      }
    };
    await Promise.all(Array.from({ length: FILES_AT_ONCE }, work));
    if (failures.length > 0) throw failures[0];
    return this;
  }

  async #readFile(folder: string, file: ReadAheadFile): Promise<void> {
    if (file.pieces.length === 0) return;
    const handle = await this.#open(folder, file.path);
    if (handle === undefined) {
      this.missing += 1;
      return;
    }
    try {
      for (const { offset, length } of piecesWithin(file, (await handle.stat()).size)) {
        // Whole pages are read, so they count as a whole.
        const start = Math.floor(offset / PAGE_BYTES) * PAGE_BYTES;
        const bytes = this.#budget.take(Math.ceil((offset + length) / PAGE_BYTES) * PAGE_BYTES - start);
        for (let at = 0; at < bytes; at += CALL_BYTES) {
          // A call blocks while the device's queue is full, so clients that ask for the status get their turn before
          // each one.
          await setImmediate();
          willNeed(handle.fd, start + at, Math.min(CALL_BYTES, bytes - at));
        }
        this.bytes += bytes;
      }
      this.files += 1;
    } finally {
      await handle.close();
    }
  }

  /** Opens a regular file of the disk; undefined if there is none. @throws system errors of a damaged disk */
  async #open(folder: string, path: string): Promise<FileHandle | undefined> {
    try {
      let parent = folder;
      for (const name of path.split('/').slice(0, -1)) {
        parent += `/${name}`;
        if (!(await this.#isFolder(parent))) return undefined;
      }
      const stats = await lstat(`${folder}/${path}`);
      if (!stats.isFile() || stats.dev !== this.#device) return undefined;
      return await open(`${folder}/${path}`, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    } catch (error) {
      if (isENOENT(error) || isENOTDIR(error) || isENAMETOOLONG(error)) return undefined;
      throw error;
    }
  }

  #isFolder(path: string): Promise<boolean> {
    let known = this.#folders.get(path);
    if (known === undefined) {
      known = lstat(path).then((stats) => stats.isDirectory() && stats.dev === this.#device);
      this.#folders.set(path, known);
    }
    return known;
  }
}

/** How much memory programs can get without swapping (proc_meminfo(5)). */
function availableBytes(): number {
  const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(readTextIfThere('/proc/meminfo') ?? '')?.[1];
  return Number(kilobytes ?? 0) * 1024;
}
