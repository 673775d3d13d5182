export interface FileTime {
  readonly sec: number;
  readonly nsec: number;
}

/** What every inode has. Names and xattr keys are latin1 strings of their bytes. */
interface Attributes {
  mode: number;
  uid: number;
  gid: number;
  mtime: FileTime;
  xattrs: Map<string, Buffer> | undefined;
  /** Hard links; a folder's are counted by the filesystem's writer. */
  links: number;
  /** The inode's number, which the filesystem's writer gives. */
  ino: number;
}

export interface FolderNode extends Attributes {
  readonly kind: 'folder';
  readonly children: Map<string, TreeNode>;
}

export interface FileNode extends Attributes {
  readonly kind: 'file';
  size: number;
  /** The first block of its content, which lies in one piece; 0 where it has none. */
  block: number;
}

interface SymlinkNode extends Attributes {
  readonly kind: 'symlink';
  readonly target: Buffer;
}

export interface DeviceNode extends Attributes {
  readonly kind: 'character' | 'block' | 'fifo';
  readonly major: number;
  readonly minor: number;
}

/** An inode of the filesystem that is being made. */
export type TreeNode = FolderNode | FileNode | SymlinkNode | DeviceNode;

/** Of what no archive gives a time. */
export const EPOCH: FileTime = { sec: 0, nsec: 0 };

export function attributes(mode: number, mtime: FileTime = EPOCH): Attributes {
  return { mode, uid: 0, gid: 0, mtime, xattrs: undefined, links: 1, ino: 0 };
}

export function folder(mode: number): FolderNode {
  return { kind: 'folder', ...attributes(mode), children: new Map() };
}

/** The folder at a path below `root`, made with its parents where it is not there. */
export function ensureFolderNode(root: FolderNode, path: string, mode: number): FolderNode {
  let node = root;
  for (const name of path.split('/')) {
    let child = node.children.get(name);
    if (child === undefined) {
      child = folder(mode);
      node.children.set(name, child);
    }
    if (child.kind !== 'folder') throw new Error(`${path}: a folder expected, found a ${child.kind}`);
    node = child;
  }
  return node;
}

/** Each inode once, parents first, folders' children by the order of their bytes. */
export function* walk(node: TreeNode, path = ''): Generator<{ readonly node: TreeNode; readonly path: string }> {
  yield { node, path };
  if (node.kind !== 'folder') return;
  for (const [name, child] of sortedChildren(node)) yield* walk(child, path === '' ? name : `${path}/${name}`);
}

export function sortedChildren(node: FolderNode): [string, TreeNode][] {
  return [...node.children].sort(([a], [b]) => (a < b ? -1 : 1));
}
