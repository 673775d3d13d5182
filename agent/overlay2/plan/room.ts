import { statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { existingPart } from '../../system/read-files.ts';
import type { Ledger } from '../store/ledger.ts';
import type { Step } from './steps.ts';

/** What steps need, or what a filesystem has left for them. */
export interface Room {
  readonly bytes: number;
  readonly inodes: number;
  /** The part for overlay2/. Of the room that is left, only if overlay2/ is a filesystem of its own. */
  readonly layers?: Omit<Room, 'layers'> | undefined;
}

/** ext4, xfs and btrfs have blocks of this size or smaller. */
export const BLOCK_BYTES = 4096;
/** For an inode and its name in a folder. */
export const ENTRY_BYTES = 512;
/** For an entry in the ledger, or in its part that says what will be: two digests, or a name and a digest. */
const LEDGER_ENTRY_BYTES = 256;
/**
 * dockerd writes databases before it listens, and containers write, too. Half of this is left to them. The other half
 * is what ext4 counts as free but gives to nobody, not even root (fs/ext4/super.c, ext4_calculate_resv_clusters: 2 % of
 * the blocks, 4096 at most). On a small filesystem it is an eighth.
 */
const RESERVE_BYTES = 32 * 1024 * 1024;
const RESERVE_SHARE = 1 / 8;
const RESERVE_INODES = 512;

export const nothing: Room = { bytes: 0, inodes: 0 };
/** For the folders that a first run makes, ours among them. */
export const folders: Room = { bytes: 24 * (BLOCK_BYTES + ENTRY_BYTES), inodes: 24 };

/**
 * How much may be written to the filesystems of the data root and of overlay2/ so that dockerd still starts. On the
 * second one, it tries whether it can mount an overlay. Blocks that ext4 keeps for root count as free, because dockerd
 * is root.
 */
export function roomIn(dataRoot: string): Room {
  const [all, layers] = [existingPart(dataRoot), existingPart(join(dataRoot, 'overlay2'))];
  return statSync(all).dev === statSync(layers).dev ? roomOf(all) : { ...roomOf(all), layers: roomOf(layers) };
}

/** How much may be written to a filesystem so that Docker still starts there. @param path that exists */
export function roomOf(path: string): Room {
  const { bsize, blocks, bfree, files, ffree } = statfsSync(path);
  const reserve = Math.min(RESERVE_BYTES, blocks * bsize * RESERVE_SHARE);
  // A tmpfs without limits says that it has no blocks (mm/shmem.c, shmem_statfs). btrfs makes inodes as it needs them,
  // and says that it has none.
  return {
    bytes: blocks === 0 ? Number.POSITIVE_INFINITY : bfree * bsize - reserve,
    inodes: files === 0 ? Number.POSITIVE_INFINITY : ffree - RESERVE_INODES,
  };
}

/** What the steps write, rounded up. What they remove is not subtracted, because that is done last. */
export function needOf(steps: readonly Step[]): Room {
  return steps.map(needOfStep).reduce(sum, folders);
}

export function fits(need: Room, room: Room): boolean {
  return shares(need, room).every(isEnough);
}

/** What is needed on one filesystem of a store, and what it has. */
export interface Share {
  readonly folder: '' | 'overlay2';
  readonly need: Room;
  readonly room: Room;
}

/** A need, divided by filesystems. */
export function shares(need: Room, room: Room): readonly Share[] {
  const { layers = nothing } = need;
  if (room.layers === undefined) return [{ folder: '', need, room }];
  return [
    { folder: 'overlay2', need: layers, room: room.layers },
    { folder: '', need: { bytes: need.bytes - layers.bytes, inodes: need.inodes - layers.inodes }, room },
  ];
}

export function isEnough({ need, room }: Share): boolean {
  return need.bytes <= room.bytes && need.inodes <= room.inodes;
}

/** The sum of two. */
export function sum(a: Room, b: Room): Room {
  const add = (left: Room, right: Room): Room => ({
    bytes: left.bytes + right.bytes,
    inodes: left.inodes + right.inodes,
  });
  return { ...add(a, b), layers: add(a.layers ?? nothing, b.layers ?? nothing) };
}

/** What one step needs. */
export function needOfStep(step: Step): Room {
  const need = needOfFiles(step);
  return step.do === 'make-empty-layer' || step.do === 'link-layer' ? { ...need, layers: need } : need;
}

function needOfFiles(step: Step): Room {
  switch (step.do) {
    case 'make-empty-layer':
      // The folders overlay2, l, its own, diff and work; the file link, and the symlink in l.
      return ofFiles(
        Array.from({ length: 7 }, () => BLOCK_BYTES),
        1,
      );
    case 'link-layer':
      // Only the label of the disk has changed. Files are replaced one after the other, so that no more is needed than
      // before.
      if (step.replaces) return nothing;
      // Its folder, work, diff, link, lower, and the symlink in l. A symlink to a path of more than 59 bytes takes a
      // block.
      return ofFiles(
        [BLOCK_BYTES, BLOCK_BYTES, step.diffPath.length, step.names.link.length, step.lower.length, BLOCK_BYTES],
        1,
      );
    case 'record-layer':
      return ofFiles([
        BLOCK_BYTES,
        ...[...step.files.values()].map((text) => text.length),
        step.tarSplit?.sizeBytes ?? 0,
      ]);
    case 'pin-layer':
      return ofFiles([BLOCK_BYTES, step.name.length, step.chain.length]);
    case 'store-image':
      return ofFiles([
        step.config.length,
        ...(step.metadata.size === 0 ? [] : [BLOCK_BYTES]),
        ...[...step.metadata.values()].map((bytes) => bytes.length),
      ]);
    case 'write-distribution':
      return ofFiles([step.content.length]);
    case 'write-references':
      return ofFiles([Buffer.byteLength(step.text)]);
    case 'write-ledger':
      return ofFiles([ledgerBytes(step.ledger)]);
    case 'remove-image':
    case 'remove-layer':
    case 'unpin-layer':
    case 'remove-empty-layer':
    case 'remove-distribution':
    case 'remove-ledger':
      return nothing;
  }
}

/** What files need. @param empty the number of further files without content */
function ofFiles(sizes: readonly number[], empty = 0): Room {
  const inodes = sizes.length + empty;
  return {
    bytes: sizes.reduce((total, size) => total + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES, inodes * ENTRY_BYTES),
    inodes,
  };
}

function ledgerBytes({
  references,
  images,
  layers,
  next,
  removed,
  displaced,
  lent,
  restored,
  distribution,
}: Ledger): number {
  const parts = [
    references,
    images,
    layers,
    next?.references,
    next?.images,
    next?.layers,
    removed,
    displaced,
    lent,
    restored,
    distribution,
  ];
  return parts.reduce((total, part) => total + (part?.size ?? 0), 1) * LEDGER_ENTRY_BYTES;
}
