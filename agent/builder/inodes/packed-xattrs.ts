/** Extended attributes as bytes: each name with its length in 2 bytes, each value with its length in 4. */
export function packXattrs(xattrs: ReadonlyMap<string, Buffer>): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of xattrs) {
    if (name.length > 0xffff) throw new Error(`expected an xattr with a name of 1 to 255 bytes, found ${name.length}`);
    const head = Buffer.alloc(6);
    head.writeUInt16LE(name.length, 0);
    head.writeUInt32LE(value.length, 2);
    parts.push(head, Buffer.from(name, 'latin1'), value);
  }
  return Buffer.concat(parts);
}

export function unpackXattrs(packed: Buffer): Map<string, Buffer> {
  const xattrs = new Map<string, Buffer>();
  for (let offset = 0; offset < packed.length;) {
    const nameEnd = offset + 6 + packed.readUInt16LE(offset);
    const end = nameEnd + packed.readUInt32LE(offset + 2);
    xattrs.set(packed.toString('latin1', offset + 6, nameEnd), packed.subarray(nameEnd, end));
    offset = end;
  }
  return xattrs;
}
