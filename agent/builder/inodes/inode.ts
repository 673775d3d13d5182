export interface FileTime {
  readonly sec: number;
  readonly nsec: number;
}

/** What every inode has. The keys of xattrs are latin1 strings of their bytes. */
export interface InodeAttributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: FileTime;
  readonly xattrs: ReadonlyMap<string, Buffer>;
}

/** An inode's kind, and what only this kind has. */
export type InodeBody =
  | { readonly kind: 'folder' }
  /** `block` is the first block of the content, which is in one piece; 0 if there is none. */
  | { readonly kind: 'file'; readonly size: number; readonly block: number }
  | { readonly kind: 'symlink'; readonly target: Buffer }
  | { readonly kind: 'character' | 'block' | 'fifo'; readonly major: number; readonly minor: number };

/** An inode of the filesystem that is being written. */
export type Inode = InodeBody &
  InodeAttributes & {
    /** The number of hard links. The filesystem's writer counts those of folders. */
    readonly links: number;
    /** The inode's number, which the filesystem's writer gives; 0 until then. */
    readonly ino: number;
  };

/** The time of files for which no archive gives one. */
export const EPOCH: FileTime = { sec: 0, nsec: 0 };

export const NO_XATTRS: ReadonlyMap<string, Buffer> = new Map();

/** The attributes of files that come from no archive. */
export function ownedByRoot(mode: number): InodeAttributes {
  return { mode, uid: 0, gid: 0, mtime: EPOCH, xattrs: NO_XATTRS };
}
