import { constants } from 'node:fs';
import { open, realpath, stat, type FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { MAX_READ_AHEAD_BYTES, parseReadAhead, piecesWithin, READ_AHEAD_NAME, type ReadAheadFile, type ReadAheadList } from '../disk/read-ahead.ts';
import { DiskTree } from '../disk/tree.ts';
import { monotonicUsec } from '../system/clock.ts';
import { messageOf } from '../system/errors.ts';
import { readTextIfThere } from '../system/files.ts';
import { log } from '../system/journal.ts';
import { systemCall } from '../system/libc.ts';
import { megabytes } from '../system/megabytes.ts';
import { plural } from '../system/plural.ts';
import type { LoadedDisk } from './preload.ts';

const POSIX_FADV_WILLNEED = 3;
/** One call reads no more than the device's read_ahead_kb, 128 by default (mm/readahead.c, force_page_cache_ra). */
const CALL_BYTES = 128 * 1024;
/** After so much, those who ask for the status have their turn: where the device's queue is full, a call waits for it. */
const TURN_BYTES = 8 * CALL_BYTES;
/** Looking for a file reads folders and inodes, for which one has to wait: several at once, then. */
const FILES_AT_ONCE = 4;
const MEMORY_SHARE = 1 / 4;

/**
 * Asks the kernel to read what the disks' lists name, disk by disk, and does not wait for the data. What a list says is
 * not trusted: nothing but regular files of the disk itself is opened. Whatever goes wrong is told in the journal.
 * @param limitBytes of all disks together; it becomes a quarter of the available memory at most
 */
export async function readAhead(disks: readonly LoadedDisk[], limitBytes: number): Promise<void> {
  const budget = new Budget(Math.min(limitBytes, availableBytes() * MEMORY_SHARE));
  for (const disk of disks) {
    const { label } = disk.content;
    try {
      const start = monotonicUsec();
      const json = new DiskTree(disk.mounted.path).readText(READ_AHEAD_NAME, MAX_READ_AHEAD_BYTES);
      if (json === undefined) continue;
      const { bytes, files, skipped } = await readDiskAhead(disk, parseReadAhead(json, READ_AHEAD_NAME).layers, budget);
      const parts = [
        `disk ${label}: ${megabytes(bytes)} of ${plural(files, 'file')} are read ahead`,
        ...(skipped > 0 ? [`${plural(skipped, 'file')} of the list left out, which the disk has not as regular files`] : []),
        ...(budget.isEmpty ? ['the rest is left out, since no more memory may be filled'] : []),
      ];
      log('READ_AHEAD', parts.join('; '), { LABEL: label, MS: Math.round((monotonicUsec() - start) / 1000) });
    } catch (error) {
      log('NOT_READ_AHEAD', `disk ${label}: nothing more is read ahead, ignoring: ${messageOf(error)}`, { LABEL: label });
    }
  }
}

/** How much may still be read, in bytes. */
class Budget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  get isEmpty(): boolean {
    return this.#left < 1;
  }

  /** @returns how much of it may be read */
  take(bytes: number): number {
    const taken = Math.floor(Math.min(bytes, this.#left));
    this.#left -= taken;
    return taken;
  }
}

interface Done {
  bytes: number;
  files: number;
  skipped: number;
}

async function readDiskAhead({ mounted, content }: LoadedDisk, layers: ReadAheadList['layers'], budget: Budget): Promise<Done> {
  const folders = new Map<string, string>();
  for (const { chain, diffPath } of content.layers.values()) folders.set(chain, await realpath(diffPath));
  const { dev } = await stat(mounted.path);
  const done: Done = { bytes: 0, files: 0, skipped: 0 };
  const todo = layers.flatMap(({ chainId, files }) => files.map((file) => ({ folder: folders.get(chainId), file }))).values();
  const work = async (): Promise<void> => {
    // All take from one iterator.
    for (const { folder, file } of todo) {
      if (budget.isEmpty) return;
      const bytes = folder === undefined ? undefined : await readFileAhead(folder, file, dev, budget);
      if (bytes === undefined) done.skipped += 1;
      else {
        done.files += 1;
        done.bytes += bytes;
      }
    }
  };
  await Promise.all(Array.from({ length: FILES_AT_ONCE }, work));
  return done;
}

/** @returns how many bytes are being read, or undefined where there is no such regular file on the device */
async function readFileAhead(folder: string, file: ReadAheadFile, device: number, budget: Budget): Promise<number | undefined> {
  const path = `${folder}/${file.path}`;
  let handle: FileHandle;
  try {
    // A symlink on the way could lead anywhere. The disk is read-only: what was looked at stays so.
    if ((await realpath(path)) !== path) return undefined;
    // O_NONBLOCK: opening a fifo must not wait for its other end.
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile() || stats.dev !== device) return undefined;
    let bytes = 0;
    for (const piece of piecesWithin(file, stats.size)) {
      const length = budget.take(piece.length);
      for (let at = 0; at < length; at += CALL_BYTES) {
        if (at % TURN_BYTES === 0) await setImmediate();
        systemCall('posix_fadvise', handle.fd, piece.offset + at, Math.min(CALL_BYTES, length - at), POSIX_FADV_WILLNEED);
      }
      bytes += length;
    }
    return bytes;
  } finally {
    await handle.close();
  }
}

/** What programs can have without anybody being swapped out (proc_meminfo(5)). */
function availableBytes(): number {
  const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(readTextIfThere('/proc/meminfo') ?? '')?.[1];
  return Number(kilobytes ?? 0) * 1024;
}
