import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { systemCall } from './libc.ts';
import { PAGE_BYTES } from './will-need.ts';

/** The same number on all architectures (asm-generic/unistd.h), since Linux 6.5. */
const SYS_CACHESTAT = 451;
/** On a disk with 3000 reads and 125 MB a second, reading a gap of this many pages takes as long as skipping it. */
const GAP_PAGES = 10;

/**
 * Which parts of a file are in the page cache, in bytes, with small gaps closed. The file itself is not read.
 * @throws system errors; ENOSYS on kernels older than 6.5
 */
export function piecesInMemory(path: string): { readonly offset: number; readonly length: number }[] {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const { size } = fstatSync(fd);
    const runs: { first: number; end: number }[] = [];
    collect(fd, 0, Math.ceil(size / PAGE_BYTES), runs);
    return runs.map(({ first, end }) => ({
      offset: first * PAGE_BYTES,
      length: Math.min(end * PAGE_BYTES, size) - first * PAGE_BYTES,
    }));
  } finally {
    closeSync(fd);
  }
}

/** Halves a range until each part is completely in memory or not at all, which whole files mostly are. */
function collect(fd: number, first: number, end: number, runs: { first: number; end: number }[]): void {
  if (first === end) return;
  const pages = pagesInMemory(fd, first, end);
  if (pages === 0) return;
  if (pages < end - first) {
    const middle = Math.floor((first + end) / 2);
    collect(fd, first, middle, runs);
    collect(fd, middle, end, runs);
    return;
  }
  const last = runs.at(-1);
  if (last !== undefined && first - last.end <= GAP_PAGES) last.end = end;
  else runs.push({ first, end });
}

const range = Buffer.alloc(16);
/** The numbers of cached, dirty, writeback, evicted and recently evicted pages. */
const found = Buffer.alloc(40);

function pagesInMemory(fd: number, first: number, end: number): number {
  range.writeBigUInt64LE(BigInt(first * PAGE_BYTES), 0);
  range.writeBigUInt64LE(BigInt((end - first) * PAGE_BYTES), 8);
  systemCall('syscall', SYS_CACHESTAT, fd, range, found, 0);
  return Number(found.readBigUInt64LE(0));
}
