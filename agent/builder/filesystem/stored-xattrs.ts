/** An extended attribute as ext4 and erofs store it: the prefix as a number, and the rest of the name. */
export interface StoredXattr {
  readonly prefix: number;
  readonly name: Buffer;
  readonly value: Buffer;
}

/** fs/ext4/xattr.h, EXT4_XATTR_INDEX_*. fs/erofs/erofs_fs.h has the same numbers for these, but none for `system`. */
const prefixes: readonly (readonly [string, number])[] = [
  ['user.', 1],
  ['trusted.', 4],
  ['security.', 6],
];
const acls: Readonly<Record<string, number>> = { 'system.posix_acl_access': 2, 'system.posix_acl_default': 3 };

/**
 * The attributes in the order in which ext4 looks for them in a block: prefix, length of name, name.
 * @throws Error if an attribute's namespace is not one of the kernel's
 */
export function storedXattrs(xattrs: ReadonlyMap<string, Buffer>, filesystem: 'ext4' | 'erofs'): StoredXattr[] {
  return [...xattrs]
    .map(([key, value]) => stored(key, value, filesystem))
    .sort((a, b) => a.prefix - b.prefix || a.name.length - b.name.length || a.name.compare(b.name));
}

function stored(key: string, value: Buffer, filesystem: 'ext4' | 'erofs'): StoredXattr {
  const acl = acls[key];
  if (acl !== undefined)
    return { prefix: acl, name: Buffer.alloc(0), value: filesystem === 'ext4' ? ext4Acl(value) : value };
  for (const [prefix, number] of prefixes) {
    if (!key.startsWith(prefix)) continue;
    const name = Buffer.from(key.slice(prefix.length), 'latin1');
    if (name.length === 0 || name.length > 255)
      throw new Error(`expected an xattr with a name of 1 to 255 bytes, found ${name.length}`);
    return { prefix: number, name, value };
  }
  throw new Error(`expected an xattr of user, trusted, security or a POSIX ACL, found '${key.slice(0, 100)}'`);
}

/**
 * ext4 stores an ACL in fewer bytes than the xattr has (fs/ext4/acl.c, ext4_acl_to_disk): an id only for entries that
 * have one.
 */
function ext4Acl(value: Buffer): Buffer {
  if (value.length < 4 || (value.length - 4) % 8 !== 0 || value.readUInt32LE(0) !== 2)
    throw new Error('expected a POSIX ACL of version 2, found something else');
  const parts: Buffer[] = [Buffer.from([1, 0, 0, 0])];
  for (let offset = 4; offset < value.length; offset += 8) {
    const tag = value.readUInt16LE(offset);
    const USER = 0x02;
    const GROUP = 0x08;
    parts.push(value.subarray(offset, offset + (tag === USER || tag === GROUP ? 8 : 4)));
  }
  return Buffer.concat(parts);
}
