import { setXattrs, xattrsAfterChown } from './set-xattrs.ts';
import type { TarEntry } from '../tar/tar-reader.ts';
import { EPOCH, type InodeAttributes, type InodeBody, type FileTime } from '../inodes/inode.ts';

/**
 * The inode that an entry of a tar makes.
 * @throws Error if dockerd does not know the type or the kernel does not allow the inode
 */
export function bodyOf(entry: TarEntry): InodeBody {
  switch (entry.type) {
    case '0':
      return { kind: 'file', size: entry.size, block: 0 };
    case '2':
      if (entry.linkName.length === 0 || entry.linkName.length > 4095)
        throw new Error(`expected a symlink's target of 1 to 4095 bytes, found ${entry.linkName.length}`);
      return { kind: 'symlink', target: entry.linkName };
    case '3':
    case '4':
      for (const number of [entry.deviceMajor, entry.deviceMinor])
        if (number < 0 || number > 0xffffffff) throw new Error(`expected device numbers of 32 bits, found ${number}`);
      // mknod(2) takes 12 bits of the major number and 20 of the minor. Go passes more, and the kernel drops them.
      return {
        kind: entry.type === '3' ? 'character' : 'block',
        major: entry.deviceMajor % 2 ** 12,
        minor: entry.deviceMinor % 2 ** 20,
      };
    case '5':
      return { kind: 'folder' };
    case '6':
      return { kind: 'fifo', major: 0, minor: 0 };
    default:
      throw new Error(
        `expected a file, folder, link, device or fifo, found the tar type ${JSON.stringify(entry.type)}`,
      );
  }
}

export type AttributeField = 'mode' | 'uid' | 'gid' | 'mtimeSec' | 'mtimeNsec' | 'xattrs';

/**
 * An inode's attributes after an entry's chown, setxattr, chmod and utimes, in this order (archive.go, createTarFile).
 */
export function attributesAfter(
  kind: InodeBody['kind'],
  before: Pick<InodeAttributes, 'uid' | 'gid' | 'xattrs'>,
  entry: Pick<TarEntry, AttributeField>,
): InodeAttributes {
  const mode = kind === 'symlink' ? 0o777 : entry.mode & 0o7777;
  return {
    mode,
    uid: entry.uid === AS_IT_IS ? before.uid : entry.uid,
    gid: entry.gid === AS_IT_IS ? before.gid : entry.gid,
    mtime: timeOf(entry),
    xattrs: setXattrs(kind, mode, xattrsAfterChown(kind, before.xattrs), entry.xattrs),
  };
}

/** The owner -1 of lchown(2), which leaves the owner as it is. */
export const AS_IT_IS = 0xffffffff;

/** dockerd sets times before 1970, or later than the system supports, to 0 (boundTime). */
function timeOf({ mtimeSec: sec, mtimeNsec: nsec }: Pick<TarEntry, 'mtimeSec' | 'mtimeNsec'>): FileTime {
  return sec < 0 || sec > MAX_TIME.sec || (sec === MAX_TIME.sec && nsec > MAX_TIME.nsec) ? EPOCH : { sec, nsec };
}

/** 2^63 - 1 nanoseconds, in the year 2262. ext4's own limit is in 2446. */
const MAX_TIME: FileTime = { sec: 9_223_372_036, nsec: 854_775_807 };
