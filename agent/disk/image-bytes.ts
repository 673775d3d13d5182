import { closeSync, constants, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { inflateRawSync } from 'node:zlib';
import { unzstdStart } from '../streams/zstd.ts';

/** The bytes of a disk, whether in a raw image, a qcow2 or a block device. */
export interface ImageBytes {
  readonly format: 'raw' | 'qcow2';
  /** The disk's size. */
  readonly sizeBytes: number;
  /** How much of it is stored. A file with holes and a qcow2 can tell that, and a block device is stored whole. */
  readonly storedBytes: number;
  /** Reads bytes. What is not stored reads as zeros. */
  read(offset: number, length: number): Buffer;
  close(): void;
}

const MAGIC = 'QFI\u00fb';
/** How many L2 tables are kept, of those that were read last. */
const KEPT_TABLES = 64;

/**
 * Opens a raw image, a block device or a qcow2 for reading.
 * @throws Error if a qcow2 has features that are not read
 * here
 */
export function openImageBytes(path: string): ImageBytes {
  // O_NONBLOCK, because opening a fifo must not wait for its other end.
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = fstatSync(fd);
    if (!stats.isFile() && !stats.isBlockDevice())
      throw new Error('expected a file or a block device, found something else');
    const fileBytes = stats.isFile() ? stats.size : blockDeviceBytes(stats.rdev);
    // Some filesystems, such as those of FUSE, do not tell the number of blocks.
    const storedBytes = stats.isFile() && stats.blocks > 0 ? Math.min(stats.blocks * 512, fileBytes) : fileBytes;
    const raw = (offset: number, length: number): Buffer => {
      const buffer = Buffer.alloc(length);
      for (let done = 0; done < length;) {
        const count = readSync(fd, buffer, done, length - done, offset + done);
        if (count === 0) break;
        done += count;
      }
      return buffer;
    };
    const close = (): void => closeSync(fd);
    if (raw(0, 4).toString('latin1') !== MAGIC)
      return { format: 'raw', sizeBytes: fileBytes, storedBytes, read: raw, close };
    const qcow2 = new Qcow2(raw, fileBytes);
    return {
      format: 'qcow2',
      sizeBytes: qcow2.sizeBytes,
      storedBytes,
      read: (offset, length) => qcow2.read(offset, length),
      close,
    };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** The size of a block device. It is in sysfs, and not in the result of stat(2). */
function blockDeviceBytes(device: number): number {
  // As new_decode_dev has it (include/linux/kdev_t.h).
  const [major, minor] = [(device >>> 8) & 0xfff, (device & 0xff) | ((device >>> 12) & 0xfff00)];
  return Number(readFileSync(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * 512;
}

/** A qcow2, as QEMU's docs/interop/qcow2.txt describes it. */
class Qcow2 {
  readonly sizeBytes: number;
  readonly #raw: (offset: number, length: number) => Buffer;
  readonly #clusterBits: number;
  readonly #l1: Buffer;
  readonly #zstd: boolean;
  readonly #tables = new Map<number, Buffer>();
  #inflated: { readonly entry: bigint; readonly bytes: Buffer } | undefined;

  constructor(raw: (offset: number, length: number) => Buffer, fileBytes: number) {
    // The last cluster may end early, but it begins within the file.
    this.#raw = (offset, length) => {
      if (length > 0 && offset >= fileBytes)
        throw new Error(
          `it is cut off: expected a qcow2 of more than ${offset} bytes, found ${fileBytes}: copy it again`,
        );
      return raw(offset, length);
    };
    const header = raw(0, 112);
    this.sizeBytes = number(header.readBigUInt64BE(24));
    const version = header.readUInt32BE(4);
    const features = version >= 3 ? header.readBigUInt64BE(72) : 0n;
    this.#clusterBits = header.readUInt32BE(20);
    // The bits for dirty and corrupt only warn a reader. The one for the compression type is read.
    const COMPRESSION_TYPE = 8n;
    if (version < 2 || version > 3 || this.#clusterBits < 9 || this.#clusterBits > 21)
      throw new Error('expected a qcow2 of version 2 or 3, found another');
    if (header.readBigUInt64BE(8) !== 0n) throw new Error('expected a qcow2 without backing file, found one with it');
    if (header.readUInt32BE(32) !== 0) throw new Error('expected a qcow2 without encryption, found one with it');
    if ((features & ~(3n | COMPRESSION_TYPE)) !== 0n)
      throw new Error('expected a qcow2 without external data file and extended L2 entries, found one with them');
    const compression = (features & COMPRESSION_TYPE) === 0n ? 0 : header.readUInt8(104);
    if (compression > 1) throw new Error(`expected a qcow2 compressed by deflate or zstd, found type ${compression}`);
    this.#zstd = compression === 1;
    const entries = header.readUInt32BE(36);
    if (entries > 4 * 1024 * 1024)
      throw new Error('expected a qcow2 of at most 32 MiB of L1 table, found a larger one');
    this.#l1 = this.#raw(number(header.readBigUInt64BE(40)), entries * 8);
    // We read nothing of the refcounts. But `build` writes them last, so they are missing if the file was cut off.
    this.#raw(number(header.readBigUInt64BE(48)), 1);
  }

  read(offset: number, length: number): Buffer {
    const size = 2 ** this.#clusterBits;
    const out = Buffer.alloc(length);
    for (let done = 0; done < length;) {
      const position = offset + done;
      const inside = position % size;
      const part = Math.min(size - inside, length - done);
      this.#cluster(Math.floor(position / size), inside, part)?.copy(out, done);
      done += part;
    }
    return out;
  }

  #cluster(index: number, inside: number, length: number): Buffer | undefined {
    const perTable = 2 ** (this.#clusterBits - 3);
    const l1Index = Math.floor(index / perTable);
    if (l1Index * 8 >= this.#l1.length) return undefined;
    const tableAt = number(this.#l1.readBigUInt64BE(l1Index * 8) & OFFSET_MASK);
    if (tableAt === 0) return undefined;
    const entry = this.#table(tableAt).readBigUInt64BE((index % perTable) * 8);
    if ((entry & COMPRESSED) !== 0n) return this.#decompress(entry).subarray(inside, inside + length);
    const at = number(entry & OFFSET_MASK);
    // With bit 0 of version 3, the cluster reads as zeros.
    return at === 0 || (entry & 1n) !== 0n ? undefined : this.#raw(at + inside, length);
  }

  #table(at: number): Buffer {
    let table = this.#tables.get(at);
    if (table === undefined) {
      const [oldest] = this.#tables.keys();
      if (this.#tables.size >= KEPT_TABLES && oldest !== undefined) this.#tables.delete(oldest);
      table = this.#raw(at, 2 ** this.#clusterBits);
      this.#tables.set(at, table);
    }
    return table;
  }

  #decompress(entry: bigint): Buffer {
    if (this.#inflated?.entry === entry) return this.#inflated.bytes;
    const offsetBits = BigInt(62 - (this.#clusterBits - 8));
    const at = number(entry & ((1n << offsetBits) - 1n));
    const sectors = number((entry & ((1n << 62n) - 1n)) >> offsetBits) + 1;
    const compressed = this.#raw(at, sectors * 512 - (at % 512));
    const length = 2 ** this.#clusterBits;
    // Between the end of the data and the end of the sector is another cluster's data, or nothing.
    const unpack = this.#zstd ? unzstdStart : inflate;
    const bytes = unpack(compressed, length);
    if (bytes.length !== length) throw new Error(`expected a cluster of ${length} bytes, found ${bytes.length}`);
    this.#inflated = { entry, bytes };
    return bytes;
  }
}

const inflate = (bytes: Buffer, length: number): Buffer => inflateRawSync(bytes, { maxOutputLength: length });
const OFFSET_MASK = 0x00ff_ffff_ffff_fe00n;
const COMPRESSED = 1n << 62n;

function number(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER))
    throw new Error('expected an offset within the file, found a larger one');
  return Number(value);
}
