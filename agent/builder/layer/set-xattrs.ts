import { formatAcl, parseAcl, saysMoreThanMode, withMode } from './acl.ts';
import { NO_XATTRS, type InodeBody } from '../inodes/inode.ts';

type Xattrs = ReadonlyMap<string, Buffer>;

const ACCESS_ACL = 'system.posix_acl_access';
const DEFAULT_ACL = 'system.posix_acl_default';
const CAPABILITY = 'security.capability';
const CAPABILITY_EFFECTIVE = 1;
/** include/uapi/linux/limits.h */
const XATTR_NAME_MAX = 255;
const EMPTY = Buffer.alloc(0);

/** The xattrs that a new inode inherits from its folder (fs/posix_acl.c, posix_acl_create). */
export function inheritedXattrs(kind: InodeBody['kind'], parent: Xattrs): Xattrs {
  const acl = parent.get(DEFAULT_ACL);
  if (acl === undefined || kind === 'symlink') return NO_XATTRS;
  return new Map([[ACCESS_ACL, acl], ...(kind === 'folder' ? [[DEFAULT_ACL, acl] as const] : [])]);
}

/**
 * The xattrs that remain after a chown, even to the same owner: capabilities are dropped (fs/open.c, chown_common:
 * ATTR_KILL_PRIV) unless they are empty (security/commoncap.c, cap_inode_need_killpriv).
 */
export function xattrsAfterChown(kind: InodeBody['kind'], xattrs: Xattrs): Xattrs {
  if (kind === 'folder' || (xattrs.get(CAPABILITY) ?? EMPTY).length === 0) return xattrs;
  return new Map([...xattrs].filter(([name]) => name !== CAPABILITY));
}

/**
 * An inode's xattrs after dockerd has set an entry's xattrs and then its mode, in this order (moby, archive.go,
 * createTarFile).
 * @param before the xattrs that it had
 * @throws Error if the kernel refuses one, because then dockerd refuses the layer
 */
export function setXattrs(kind: InodeBody['kind'], mode: number, before: Xattrs, entry: Xattrs): Xattrs {
  if (before.size === 0 && entry.size === 0) return NO_XATTRS;
  const xattrs = new Map(before);
  for (const [name, value] of entry) {
    if (name.length > XATTR_NAME_MAX)
      throw new Error(`expected an xattr with a name of at most ${XATTR_NAME_MAX} bytes, found ${name.length}`);
    if (name === ACCESS_ACL || name === DEFAULT_ACL) {
      if (kind === 'symlink') throw new Error('expected no ACL on a symlink, found one');
      const acl = parseAcl(value);
      if (name === DEFAULT_ACL && kind !== 'folder' && acl.length > 0)
        throw new Error(`expected a default ACL on folders alone, found one on a ${kind}`);
      if (acl.length === 0 || (name === ACCESS_ACL && !saysMoreThanMode(acl))) xattrs.delete(name);
      else xattrs.set(name, formatAcl(acl));
      continue;
    }
    const [namespace = '', rest] = /^(user|trusted|security)\.([^]+)$/.exec(name)?.slice(1) ?? [];
    if (rest === undefined)
      throw new Error(`expected an xattr of user, trusted, security or a POSIX ACL, found '${name.slice(0, 100)}'`);
    if (name === CAPABILITY && !isCapability(value))
      throw new Error('expected a capability of revision 2 or 3, found something else');
    // For other kinds, the kernel answers EPERM, which dockerd ignores (fs/xattr.c, xattr_permission).
    if (namespace !== 'user' || kind === 'file' || kind === 'folder') xattrs.set(name, value);
  }
  const acl = xattrs.get(ACCESS_ACL);
  if (acl !== undefined) {
    const settled = withMode(parseAcl(acl), mode);
    if (saysMoreThanMode(settled)) xattrs.set(ACCESS_ACL, formatAcl(settled));
    else xattrs.delete(ACCESS_ACL);
  }
  return xattrs;
}

/** security/commoncap.c, cap_convert_nscap, which is not called for empty values (fs/xattr.c, vfs_setxattr). */
function isCapability(value: Buffer): boolean {
  if (value.length !== 20 && value.length !== 24) return value.length === 0;
  const revision = value.readUInt32LE(0) & ~CAPABILITY_EFFECTIVE;
  if (value.length === 20) return revision === 0x0200_0000;
  // The root user of the namespace; -1 is not valid.
  return revision === 0x0300_0000 && value.readUInt32LE(20) !== 0xffff_ffff;
}
