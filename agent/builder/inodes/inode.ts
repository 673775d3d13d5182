export interface FileTime {
  readonly sec: number;
  readonly nsec: number;
}

/** What every inode has. Xattr keys are latin1 strings of their bytes. */
export interface InodeAttributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: FileTime;
  readonly xattrs: ReadonlyMap<string, Buffer>;
}

/** What an inode is, and what only its kind has. */
export type InodeBody =
  | { readonly kind: 'folder' }
  /** `block` is the first of the content, which lies in one piece; 0 where there is none. */
  | { readonly kind: 'file'; readonly size: number; readonly block: number }
  | { readonly kind: 'symlink'; readonly target: Buffer }
  | { readonly kind: 'character' | 'block' | 'fifo'; readonly major: number; readonly minor: number };

/** An inode of the filesystem that is being made. */
export type Inode = InodeBody &
  InodeAttributes & {
    /** Hard links; a folder's are counted by the filesystem's writer. */
    readonly links: number;
    /** The inode's number, which the filesystem's writer gives; 0 before. */
    readonly ino: number;
  };

/** Of what no archive gives a time. */
export const EPOCH: FileTime = { sec: 0, nsec: 0 };

export const NO_XATTRS: ReadonlyMap<string, Buffer> = new Map();

/** Of what no archive has. */
export function ownedByRoot(mode: number): InodeAttributes {
  return { mode, uid: 0, gid: 0, mtime: EPOCH, xattrs: NO_XATTRS };
}
