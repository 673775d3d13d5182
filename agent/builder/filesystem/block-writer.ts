import { closeSync, constants, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import type { ContentStore } from '../layer/unpack-layer.ts';

export const BLOCK_BYTES = 4096;
/** qcow2's default cluster. */
const CLUSTER_BYTES = 65_536;
const BUFFER_BYTES = 16 * CLUSTER_BYTES;
const ZEROS = Buffer.alloc(CLUSTER_BYTES);

/**
 * Writes a disk's bytes once, from front to back; the superblock and the like are filled in at the end. Clusters of
 * zeros become holes. In a qcow2, the guest's cluster N is the file's cluster N + 1. The tables that say so follow at
 * the end, so nothing has to be converted.
 */
export class BlockWriter implements ContentStore {
  /** Undefined if nothing is kept. */
  readonly #fd: number | undefined;
  readonly #base: number;
  readonly #written: Uint8Array[] = [];
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  /** The disk's offset of the buffer's first byte. */
  #bufferStart = 0;
  #used = 0;
  readonly #format: 'raw' | 'qcow2';
  readonly #maxBytes: number;
  /** Contents begin at multiples of it. */
  readonly blockBytes: number;

  /**
   * @param path of a file that does not exist yet; if undefined, everything is done except the writing
   * @param maxBytes the largest size that the filesystem on it can have
   * @param blockBytes the filesystem's block size, a power of 2
   */
  constructor(
    path: string | undefined,
    format: 'raw' | 'qcow2',
    maxBytes = Number.MAX_SAFE_INTEGER,
    blockBytes = BLOCK_BYTES,
  ) {
    this.#maxBytes = maxBytes;
    this.blockBytes = blockBytes;
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
    this.#fd = path === undefined ? undefined : openSync(path, flags, 0o644);
    this.#format = format;
    this.#base = format === 'qcow2' ? CLUSTER_BYTES : 0;
  }

  /** The number of bytes so far. */
  get position(): number {
    return this.#bufferStart + this.#used;
  }

  begin(): number {
    this.end();
    return this.position / this.blockBytes;
  }

  append(bytes: Uint8Array): void {
    this.#makeRoom(bytes.length);
    for (let offset = 0; offset < bytes.length;) {
      const count = Math.min(bytes.length - offset, BUFFER_BYTES - this.#used);
      this.#buffer.set(bytes.subarray(offset, offset + count), this.#used);
      this.#used += count;
      offset += count;
      if (this.#used === BUFFER_BYTES) this.#flush();
    }
  }

  appendZeros(count: number): void {
    this.#makeRoom(count);
    for (let missing = count; missing > 0;) {
      if (this.#used === 0 && missing >= BUFFER_BYTES) {
        const skipped = missing - (missing % BUFFER_BYTES);
        this.#bufferStart += skipped;
        missing -= skipped;
        continue;
      }
      const part = Math.min(missing, BUFFER_BYTES - this.#used);
      this.#buffer.fill(0, this.#used, this.#used + part);
      this.#used += part;
      missing -= part;
      if (this.#used === BUFFER_BYTES) this.#flush();
    }
  }

  end(): void {
    this.appendZeros(-this.position & (this.blockBytes - 1));
  }

  #makeRoom(bytes: number): void {
    if (this.position + bytes <= this.#maxBytes) return;
    throw new Error(
      `expected at most ${Math.round(this.#maxBytes / 2 ** 40)} TiB on a disk of this filesystem, found more: spread the images over several disks`,
    );
  }

  /** Overwrites bytes that were written or left out before. */
  writeAt(offset: number, bytes: Buffer): void {
    this.#flush();
    for (let done = 0; done < bytes.length;) {
      const cluster = Math.floor((offset + done) / CLUSTER_BYTES);
      const part = bytes.subarray(done, done + (cluster + 1) * CLUSTER_BYTES - offset - done);
      // Bytes that do not fill a whole cluster yet are still in the buffer.
      if (cluster * CLUSTER_BYTES >= this.#bufferStart) part.copy(this.#buffer, offset + done - this.#bufferStart);
      else {
        this.#write(offset + done, part);
        this.#mark(cluster);
      }
      done += part.length;
    }
  }

  /**
   * Bytes that were written before. In a dry run they are zeros, since nothing is kept.
   * @param length in bytes, all of them before `position`
   */
  *readBack(offset: number, length: number): Generator<Buffer> {
    this.#flush();
    for (let done = 0; done < length;) {
      const piece = Buffer.alloc(Math.min(BUFFER_BYTES, length - done));
      // Clusters of zeros at the end are not in the file.
      for (let read = 0, count = 1; this.#fd !== undefined && read < piece.length && count > 0; read += count)
        count = readSync(this.#fd, piece, read, piece.length - read, this.#base + offset + done + read);
      yield piece;
      done += piece.length;
    }
  }

  /** Ends the disk at `sizeBytes` and makes the file complete and durable. */
  finish(sizeBytes: number): void {
    this.#flush();
    if (this.#fd === undefined) return;
    if (this.#format === 'raw') ftruncateSync(this.#fd, sizeBytes);
    else this.#writeQcow2(sizeBytes);
    fsyncSync(this.#fd);
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
  }

  #flush(): void {
    for (let offset = 0; offset < this.#used; offset += CLUSTER_BYTES) {
      const cluster = this.#buffer.subarray(offset, Math.min(offset + CLUSTER_BYTES, this.#used));
      if (cluster.equals(ZEROS.subarray(0, cluster.length))) continue;
      this.#write(this.#bufferStart + offset, cluster);
      this.#mark((this.#bufferStart + offset) / CLUSTER_BYTES);
    }
    // An incomplete cluster stays in the buffer: the next flush writes it again with what follows.
    const rest = this.#used % CLUSTER_BYTES;
    this.#buffer.copyWithin(0, this.#used - rest, this.#used);
    this.#bufferStart += this.#used - rest;
    this.#used = rest;
  }

  #write(offset: number, bytes: Buffer): void {
    if (this.#fd === undefined) return;
    for (let done = 0; done < bytes.length;)
      done += writeSync(this.#fd, bytes, done, bytes.length - done, this.#base + offset + done);
  }

  #mark(cluster: number): void {
    const page = cluster >>> 16;
    this.#written[page] ??= new Uint8Array(65_536);
    (this.#written[page] ?? ZEROS)[cluster & 0xffff] = 1;
  }

  #isWritten(cluster: number): boolean {
    return this.#written[cluster >>> 16]?.[cluster & 0xffff] === 1;
  }

  /** QEMU's docs/interop/qcow2.txt, version 3. After the data: L2 tables, L1 table, refcount blocks, refcount table. */
  #writeQcow2(sizeBytes: number): void {
    const PER_L2 = CLUSTER_BYTES / 8;
    const PER_REFCOUNT_BLOCK = CLUSTER_BYTES / 2;
    const COPIED = 1n << 63n;
    const clusters = Math.ceil(sizeBytes / CLUSTER_BYTES);
    const l1Entries = Math.max(1, Math.ceil(clusters / PER_L2));
    const used: number[] = [0];
    let next = clusters + 1;
    const place = (bytes: Buffer): number => {
      const first = next;
      for (let offset = 0; offset < bytes.length; offset += CLUSTER_BYTES) used.push(next++);
      this.#writeRaw(first * CLUSTER_BYTES, bytes);
      return first * CLUSTER_BYTES;
    };
    const l1 = Buffer.alloc(roundUp(l1Entries * 8, CLUSTER_BYTES));
    for (let index = 0; index < l1Entries; index += 1) {
      const l2 = Buffer.alloc(CLUSTER_BYTES);
      let any = false;
      for (let entry = 0; entry < PER_L2; entry += 1) {
        const cluster = index * PER_L2 + entry;
        if (!this.#isWritten(cluster)) continue;
        any = true;
        used.push(cluster + 1);
        l2.writeBigUInt64BE(BigInt((cluster + 1) * CLUSTER_BYTES) | COPIED, entry * 8);
      }
      if (any) l1.writeBigUInt64BE(BigInt(place(l2)) | COPIED, index * 8);
    }
    const l1Offset = place(l1);
    // The refcount blocks also count themselves and their table.
    let blocks = 0;
    let tableClusters = 0;
    for (let total = -1; total !== blocks + tableClusters;) {
      total = blocks + tableClusters;
      blocks = Math.ceil((next + total) / PER_REFCOUNT_BLOCK);
      tableClusters = Math.ceil((blocks * 8) / CLUSTER_BYTES);
    }
    const blocksAt = next;
    const tableAt = next + blocks;
    for (let index = 0; index < blocks + tableClusters; index += 1) used.push(next++);
    const refcounts = Buffer.alloc(blocks * CLUSTER_BYTES);
    for (const cluster of used) refcounts.writeUInt16BE(1, cluster * 2);
    const table = Buffer.alloc(tableClusters * CLUSTER_BYTES);
    for (let index = 0; index < blocks; index += 1)
      table.writeBigUInt64BE(BigInt((blocksAt + index) * CLUSTER_BYTES), index * 8);
    this.#writeRaw(blocksAt * CLUSTER_BYTES, refcounts);
    this.#writeRaw(tableAt * CLUSTER_BYTES, table);
    const header = Buffer.alloc(CLUSTER_BYTES);
    header.write('QFI\u00fb', 0, 'latin1');
    header.writeUInt32BE(3, 4);
    header.writeUInt32BE(16, 20);
    header.writeBigUInt64BE(BigInt(sizeBytes), 24);
    header.writeUInt32BE(l1Entries, 36);
    header.writeBigUInt64BE(BigInt(l1Offset), 40);
    header.writeBigUInt64BE(BigInt(tableAt * CLUSTER_BYTES), 48);
    header.writeUInt32BE(tableClusters, 56);
    header.writeUInt32BE(4, 96);
    header.writeUInt32BE(104, 100);
    this.#writeRaw(0, header);
  }

  #writeRaw(offset: number, bytes: Buffer): void {
    this.#write(offset - this.#base, bytes);
  }
}

export function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}
