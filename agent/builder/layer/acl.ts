/** An entry of a POSIX ACL. Only entries for a named user or group have an id. */
interface AclEntry {
  readonly tag: number;
  readonly permissions: number;
  readonly id: number;
}

const USER_OBJ = 0x01;
const USER = 0x02;
const GROUP_OBJ = 0x04;
const GROUP = 0x08;
const MASK = 0x10;
const OTHER = 0x20;
const NO_ID = 0xffffffff;
const LETTERS: Readonly<Record<number, string>> = {
  [USER_OBJ]: 'U',
  [USER]: 'u',
  [GROUP_OBJ]: 'G',
  [GROUP]: 'g',
  [MASK]: 'M',
  [OTHER]: 'O',
};

/**
 * Parses an ACL from the value of an xattr (include/uapi/linux/posix_acl_xattr.h).
 * @returns no entries if the value removes the ACL
 * @throws Error if the kernel refuses it (fs/posix_acl.c, posix_acl_from_xattr, posix_acl_valid)
 */
export function parseAcl(value: Buffer): readonly AclEntry[] {
  // An empty value also means no ACL (fs/posix_acl.c, do_set_acl).
  if (value.length === 0) return [];
  if (value.length < 4 || (value.length - 4) % 8 !== 0 || value.readUInt32LE(0) !== 2)
    throw new Error('expected a POSIX ACL of version 2, found something else');
  const entries: AclEntry[] = [];
  for (let offset = 4; offset < value.length; offset += 8) {
    const tag = value.readUInt16LE(offset);
    entries.push({
      tag,
      permissions: value.readUInt16LE(offset + 2),
      id: isNamed(tag) ? value.readUInt32LE(offset + 4) : NO_ID,
    });
  }
  const order = entries.map(({ tag }) => LETTERS[tag] ?? '?').join('');
  const isWhole = entries.every(({ tag, permissions, id }) => permissions <= 7 && (!isNamed(tag) || id !== NO_ID));
  if (!isWhole || !/^(?:|UGO|Uu*Gg*MO)$/.test(order))
    throw new Error('expected a POSIX ACL that the kernel takes, found one that it refuses');
  return entries;
}

export function formatAcl(entries: readonly AclEntry[]): Buffer {
  const value = Buffer.alloc(4 + 8 * entries.length);
  value.writeUInt32LE(2);
  entries.forEach(({ tag, permissions, id }, index) => {
    value.writeUInt16LE(tag, 4 + 8 * index);
    value.writeUInt16LE(permissions, 6 + 8 * index);
    value.writeUInt32LE(id, 8 + 8 * index);
  });
  return value;
}

/** Whether it says more than a mode can. If it does not, the kernel stores no ACL (posix_acl_equiv_mode). */
export function saysMoreThanMode(entries: readonly AclEntry[]): boolean {
  return entries.some(({ tag }) => isNamed(tag) || tag === MASK);
}

/** The ACL after a chmod, which sets the entries of the owner, the mask and others (__posix_acl_chmod_masq). */
export function withMode(entries: readonly AclEntry[], mode: number): readonly AclEntry[] {
  const shifts: Readonly<Record<number, number>> = { [USER_OBJ]: 6, [MASK]: 3, [OTHER]: 0 };
  return entries.map((entry) => {
    const shift = shifts[entry.tag];
    return shift === undefined ? entry : { ...entry, permissions: (mode >> shift) & 7 };
  });
}

function isNamed(tag: number): boolean {
  return tag === USER || tag === GROUP;
}
