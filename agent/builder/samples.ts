import type { Sample } from '../disk/manifest.ts';
import type { InodeTree } from './inodes/inode-tree.ts';
import type { Inode } from './inodes/inode.ts';

/**
 * Finds the first file of each kind that not every filesystem passes on: a whiteout, an extended attribute of each
 * namespace, an owner other than root. By these a guest knows whether a copy of the disk in a folder is a whole one.
 */
export class Samples {
  readonly #byKind = new Map<string, Sample>();

  /** Looks through a layer. @param root the path of its files on the disk */
  add(tree: InodeTree, root: string): void {
    this.#look(tree.inode(tree.root), () => root);
    // Most of hundreds of thousands of files have nothing of the kind.
    for (const folder of tree.folders(tree.root))
      for (const entry of tree.children(folder))
        if (!tree.isPlain(tree.inodeOf(entry)))
          this.#look(tree.inode(tree.inodeOf(entry)), () => `${root}/${tree.path(entry)}`);
  }

  list(): Sample[] {
    return [...this.#byKind.values()];
  }

  #look(inode: Inode, path: () => string): void {
    if (inode.kind === 'character' && inode.major === 0 && inode.minor === 0) this.#keep('whiteout', path, {});
    for (const xattr of inode.xattrs.keys()) this.#keep(xattr.slice(0, xattr.indexOf('.')), path, { xattr });
    if (inode.uid !== 0 || inode.gid !== 0) this.#keep('owner', path, { owner: `${inode.uid}:${inode.gid}` });
  }

  #keep(kind: string, path: () => string, what: Omit<Sample, 'path'>): void {
    if (!this.#byKind.has(kind)) this.#byKind.set(kind, { path: path(), ...what });
  }
}
