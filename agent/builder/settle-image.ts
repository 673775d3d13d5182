import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { hexOf } from '../docker/ids.ts';

/** A format of which qemu-img draws parts at random. */
export type DrawnFormat = 'vmdk' | 'vdi' | 'vhdx';

/**
 * Replaces what qemu-img has drawn at random in an image by what the disk's digest gives, so that the same disk gives
 * the same bytes. Only what tells images apart is drawn; nothing of what the disk has in it.
 * @param digest of the disk's manifest
 * @throws Error if the image is laid out in another way than is known
 */
export function settleImage(path: string, format: DrawnFormat, digest: string): void {
  const fd = openSync(path, 'r+');
  const read = (offset: number, length: number): Buffer => {
    const bytes = Buffer.alloc(length);
    if (readSync(fd, bytes, 0, length, offset) < length) throw unknownLayout(format);
    return bytes;
  };
  const write = (offset: number, bytes: Buffer): void => void writeSync(fd, bytes, 0, bytes.length, offset);
  try {
    const [first, second, third] = [0, 16, 8].map((start) => uuid(digest, start));
    if (first === undefined || second === undefined || third === undefined) throw unknownLayout(format);
    if (format === 'vmdk') settleVmdk(read, write, hexOf(digest).slice(0, 8));
    else if (format === 'vdi') settleVdi(read, write, [first, second]);
    else settleVhdx(read, write, [first, second, third]);
  } finally {
    closeSync(fd);
  }
}

type Read = (offset: number, length: number) => Buffer;
type Write = (offset: number, bytes: Buffer) => void;

const SECTOR_BYTES = 512;

/** The content's ID, in the descriptor (VMware, Virtual Disk Format 5.0; QEMU, block/vmdk.c, VMDK4Header). */
function settleVmdk(read: Read, write: Write, id: string): void {
  const header = read(0, SECTOR_BYTES);
  if (header.toString('latin1', 0, 4) !== 'KDMV') throw unknownLayout('vmdk');
  const offset = Number(header.readBigUInt64LE(28)) * SECTOR_BYTES;
  const descriptor = read(offset, Number(header.readBigUInt64LE(36)) * SECTOR_BYTES).toString('latin1');
  const found = /^CID=([0-9a-f]{1,8})$/m.exec(descriptor);
  if (found === null) throw unknownLayout('vmdk');
  // It has as many digits as the number needs: what is behind it moves.
  const settled = `${descriptor.slice(0, found.index)}CID=${id}${descriptor.slice(found.index + found[0].length)}`;
  write(offset, Buffer.from(settled.replace(/\0*$/, '').padEnd(descriptor.length, '\0'), 'latin1'));
}

/** The image's UUID and that of its last snapshot (QEMU, block/vdi.c, VdiHeader). */
function settleVdi(read: Read, write: Write, uuids: readonly [Buffer, Buffer]): void {
  if (read(0x40, 4).readUInt32LE(0) !== 0xbeda107f) throw unknownLayout('vdi');
  write(0x188, Buffer.concat(uuids));
}

const VHDX_HEADERS = [0x10000, 0x20000];
const VHDX_HEADER_BYTES = 4096;
const VHDX_REGIONS = 0x30000;
/** The IDs of the region with the metadata, and of the disk's own ID in it ([MS-VHDX] 2.2.3.2, 2.6.2.4). */
const VHDX_METADATA = Buffer.from('06a27c8b90479a4bb8fe575f050f886e', 'hex');
const VHDX_DISK_ID = Buffer.from('ab12cabee6b2234593efc309e000c746', 'hex');

/** Two headers with a checksum each, a log of what was done last, which nobody replays, and the disk's ID. */
function settleVhdx(read: Read, write: Write, [file, data, disk]: readonly [Buffer, Buffer, Buffer]): void {
  for (const [index, offset] of VHDX_HEADERS.entries()) {
    const header = read(offset, VHDX_HEADER_BYTES);
    const isLogEmpty = header.subarray(0x30, 0x40).every((byte) => byte === 0);
    if (header.toString('latin1', 0, 4) !== 'head' || !isLogEmpty) throw unknownLayout('vhdx');
    header.writeBigUInt64LE(BigInt(index + 1), 8);
    file.copy(header, 0x10);
    data.copy(header, 0x20);
    header.writeUInt32LE(0, 4);
    header.writeUInt32LE(crc32c(header), 4);
    write(offset, header);
    write(Number(header.readBigUInt64LE(0x48)), Buffer.alloc(header.readUInt32LE(0x44)));
  }
  const metadata = entryOf(read(VHDX_REGIONS, 16 + 32 * 16), VHDX_METADATA, 16)?.readBigUInt64LE(16);
  if (metadata === undefined) throw unknownLayout('vhdx');
  const item = entryOf(read(Number(metadata), 32 + 32 * 16), VHDX_DISK_ID, 32)?.readUInt32LE(16);
  if (item === undefined) throw unknownLayout('vhdx');
  write(Number(metadata) + item, disk);
}

/** The entry of 32 bytes that begins with an ID. */
function entryOf(table: Buffer, id: Buffer, start: number): Buffer | undefined {
  for (let offset = start; offset + 32 <= table.length; offset += 32)
    if (table.subarray(offset, offset + 16).equals(id)) return table.subarray(offset, offset + 32);
  return undefined;
}

/** CRC-32C (RFC 3720, B.4), for two blocks of 4 KiB. */
function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 0 ? crc >>> 1 : (crc >>> 1) ^ 0x82f63b78;
  }
  return ~crc >>> 0;
}

/** A UUID of version 8, of digits of a digest (RFC 9562, 5.8). */
function uuid(digest: string, start: number): Buffer {
  const bytes = Buffer.from(hexOf(digest), 'hex').subarray(start, start + 16);
  const own = Buffer.from(bytes);
  own[6] = ((own[6] ?? 0) & 0x0f) | 0x80;
  own[8] = ((own[8] ?? 0) & 0x3f) | 0x80;
  return own;
}

function unknownLayout(format: DrawnFormat): Error {
  return new Error(`expected a ${format} as qemu-img has made it so far, found another`);
}
