import { printable } from '../../text/printable.ts';
import { cleanPath } from '../tar/clean-path.ts';
import { AS_IT_IS, attributesAfter, bodyOf, type AttributeField } from './entry-inode.ts';
import { inheritedXattrs } from './set-xattrs.ts';
import { InodeTree } from '../inodes/inode-tree.ts';
import type { TarEntry } from '../tar/tar-reader.ts';
import { NO_XATTRS, ownedByRoot, type InodeBody } from '../inodes/inode.ts';

const WHITEOUT = '.wh.';
const OPAQUE_WHITEOUT = '.wh..wh..opq';
const OPAQUE_XATTR = 'trusted.overlay.opaque';
/** The number of symlinks that the kernel follows. */
const MAX_LINKS = 40;
/**
 * dockerd makes implied parents with 0777 less its own umask of 022, owned by root (archive.go,
 * createImpliedDirectories).
 */
const IMPLIED_MODE = 0o755;
/** The newest dockerd does not chown files of root, so that in a setgid folder they have the folder's group. */
const LEFT_AS_MADE = { uid: AS_IT_IS, gid: AS_IT_IS };
/** Flags of a name in a folder: an entry has named it by its whole path, either without or with a slash before it. */
const SEEN = 1;
const SEEN_ROOTED = 2;

/** The inode to which a payload belongs, and its path below the layer's root. */
export interface Content {
  readonly inode: number;
  readonly path: string;
}

/**
 * A layer's files, as dockerd's overlay2 driver unpacks them (moby, archive.go: Unpack with OverlayWhiteoutFormat):
 * whiteouts become 0:0 devices, opaque folders get an xattr, and names and symlinks are resolved inside the layer's
 * root.
 */
export class LayerTree {
  readonly tree = new InodeTree(ownedByRoot(0o755));
  /**
   * Names for which there are no flags: whiteouts, and paths that lead through a symlink. Other names keep their flags,
   * because nothing that has content is ever replaced.
   */
  readonly #seen = new Set<string>();

  /**
   * Adds an entry.
   * @returns where its payload belongs; undefined if it is not a regular file
   * @throws Error with what was expected and what was found; dockerd refuses such entries as well
   */
  add(entry: TarEntry): Content | undefined {
    if (entry.name.includes(0)) throw new Error('expected a name without a NUL, found one with it');
    const name = cleanPath(entry.name.toString('latin1'));
    const parts = name.split('/').filter((part) => part !== '');
    if (entry.type === 'g') {
      this.#onceGlobal(name, parts);
      return undefined;
    }
    if (name === '..' || name.startsWith('../'))
      throw new Error("expected a path below the layer's root, found one that climbs above it");
    const base = parts.pop() ?? '';
    if (name === '.' || base === '') {
      this.#once(name);
      if (base === '' && entry.type === '5') this.#setAttributes(this.tree.root, entry);
      return undefined;
    }
    if (base === OPAQUE_WHITEOUT) {
      this.#once(name);
      this.tree.setXattr(
        this.#walk([this.tree.root], [], parts, { make: true, any: true }, { left: MAX_LINKS }).inode,
        OPAQUE_XATTR,
        Buffer.from('y'),
      );
      return undefined;
    }
    const parent = this.#parent(parts);
    if (base.startsWith(WHITEOUT)) {
      this.#once(name);
      this.#whiteout(parent.inode, base.slice(WHITEOUT.length), entry);
      return undefined;
    }
    const flag = name.startsWith('/') ? SEEN_ROOTED : SEEN;
    const known = this.tree.find(parent.inode, base);
    if (parent.followed) this.#once(name);
    else if ((known !== 0 && (this.tree.flags(known) & flag) !== 0) || this.#seen.has(name)) throw new Error(TWICE);
    const content = this.#put(parent, base, known, entry);
    const put = this.tree.find(parent.inode, base);
    if (!parent.followed) this.tree.setFlags(put, this.tree.flags(put) | flag);
    return content;
  }

  /** dockerd's tar-split takes each name only once (tar/storage, ErrDuplicatePath). */
  #once(name: string): void {
    if (this.#seen.has(name)) throw new Error(TWICE);
    this.#seen.add(name);
  }

  /** A global header is not a file, but has a name. */
  #onceGlobal(name: string, parts: readonly string[]): void {
    let entry = 0;
    let inode = this.tree.root;
    for (const part of parts) {
      entry = this.tree.find(inode, part);
      if (entry === 0) break;
      inode = this.tree.inodeOf(entry);
    }
    if (entry !== 0 && (this.tree.flags(entry) & (name.startsWith('/') ? SEEN_ROOTED : SEEN)) !== 0)
      throw new Error(TWICE);
    this.#once(name);
  }

  #put(parent: Folder, base: string, known: number, entry: TarEntry): Content | undefined {
    const { tree } = this;
    const current = known === 0 ? undefined : tree.inodeOf(known);
    if (current !== undefined) {
      if (entry.type === '5' && tree.kind(current) === 'folder') {
        this.#setAttributes(current, entry);
        return undefined;
      }
      // Content that was unpacked before is never replaced. dockerd would remove it, and then could not save the image
      // again.
      if (
        tree.kind(current) === 'folder'
          ? !tree.isEmpty(current)
          : tree.kind(current) === 'file' && tree.size(current) > 0
      ) {
        throw new Error('expected each name once, found one that replaces what this layer itself has');
      }
    }
    const inode = entry.type === '1' ? this.#hardLink(entry, known) : this.#make(bodyOf(entry), parent.inode, entry);
    tree.link(parent.inode, base, inode);
    if (current !== undefined) tree.setLinks(current, tree.links(current) - 1);
    if (entry.type === '1') {
      tree.setLinks(inode, tree.links(inode) + 1);
      this.#setAttributes(inode, entry);
      return undefined;
    }
    return tree.kind(inode) === 'file' ? { inode, path: [...parent.names, base].join('/') } : undefined;
  }

  #whiteout(folder: number, base: string, entry: TarEntry): void {
    if (base === '' || base === '.' || base === '..')
      throw new Error("expected a whiteout of a name, found '.wh.' alone");
    if (this.tree.find(folder, base) !== 0)
      throw new Error('expected a whiteout of what a layer below has, found one of what this layer itself has');
    // mknod with mode 0, owner from the header (archive_linux.go, ConvertRead).
    this.tree.link(
      folder,
      base,
      this.#make({ kind: 'character', major: 0, minor: 0 }, folder, {
        ...entry,
        ...(entry.uid === 0 && entry.gid === 0 ? LEFT_AS_MADE : {}),
        mode: 0,
        xattrs: NO_XATTRS,
      }),
    );
  }

  /** Adds an inode for an entry. The folder may determine its group and ACL. */
  #make(body: InodeBody, folder: number, entry: Pick<TarEntry, AttributeField>): number {
    return this.tree.add(
      body,
      attributesAfter(
        body.kind,
        { uid: 0, gid: this.tree.gidWithin(folder), xattrs: inheritedXattrs(body.kind, this.tree.xattrs(folder)) },
        entry,
      ),
    );
  }

  /** Gives an existing inode the attributes of an entry. */
  #setAttributes(inode: number, entry: TarEntry): void {
    const before = this.tree.inode(inode);
    const after = attributesAfter(before.kind, before, entry);
    // Mode and times of a hard link to a symlink are left alone (archive.go, handleLChmod).
    this.tree.setAttributes(
      inode,
      before.kind === 'symlink' ? { ...after, mode: before.mode, mtime: before.mtime } : after,
    );
  }

  /** @param known the entry that it replaces, which is removed before the link is made; 0 if there is none */
  #hardLink(entry: TarEntry, known: number): number {
    const target = cleanPath(`/${entry.linkName.toString('latin1')}`);
    const parts = target.split('/').filter((part) => part !== '');
    const base = parts.pop() ?? '';
    const { root } = this.tree;
    const found = this.tree.find(
      this.#walk([root], [], parts, { make: false, any: false }, { left: MAX_LINKS }).inode,
      base,
    );
    if (found !== 0 && found === known) throw new Error('expected a hard link to another name, found one to itself');
    const inode = this.tree.inodeOf(found);
    if (found === 0 || this.tree.kind(inode) === 'folder')
      throw new Error(
        `expected a hard link to a file of the layer, found one to '${printable(target)}', which is ${found === 0 ? 'not there' : 'a folder'}`,
      );
    return inode;
  }

  #parent(parts: readonly string[]): Folder & { readonly followed: boolean } {
    const links = { left: MAX_LINKS };
    const found = this.#walk([this.tree.root], [], parts, { make: true, any: false }, links);
    return { ...found, followed: links.left < MAX_LINKS };
  }

  /**
   * Follows a path from a folder as the kernel does in a chroot.
   * @param how `make`: missing folders are made, also where a symlink leads; `any`: the last name need not be a folder
   */
  #walk(
    above: readonly number[],
    aboveNames: readonly string[],
    parts: readonly string[],
    how: Walk,
    links: { left: number },
  ): Folder {
    const { tree } = this;
    let stack = [...above];
    let names = [...aboveNames];
    for (const [index, part] of parts.entries()) {
      const folder = stack.at(-1) ?? tree.root;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (stack.length > 1) stack.pop();
        names.pop();
        continue;
      }
      let child = tree.inodeOf(tree.find(folder, part));
      if (child === 0) {
        if (!how.make)
          throw new Error(`expected the folder '${printable([...names, part].join('/'))}' in the layer, found none`);
        const attributes = { ...ownedByRoot(IMPLIED_MODE), ...LEFT_AS_MADE, mtimeSec: 0, mtimeNsec: 0 };
        child = this.#make({ kind: 'folder' }, folder, attributes);
        tree.link(folder, part, child);
      }
      const node = tree.kind(child);
      const any = how.any && index === parts.length - 1;
      if (node === 'symlink') {
        links.left -= 1;
        if (links.left < 0) throw new Error(`expected at most ${MAX_LINKS} symlinks on the way, found more`);
        const target = tree.target(child).toString('latin1');
        const absolute = target.startsWith('/');
        const found = this.#walk(
          absolute ? [tree.root] : stack,
          absolute ? [] : names,
          target.split('/'),
          { ...how, any },
          links,
        );
        if (any) return found;
        stack = found.stack;
        names = found.names;
      } else if (node === 'folder') {
        stack.push(child);
        names.push(part);
      } else if (any) return { inode: child, stack, names };
      else throw new Error(`expected a folder at '${printable([...names, part].join('/'))}', found a ${node}`);
    }
    return { inode: stack.at(-1) ?? tree.root, stack, names };
  }
}

const TWICE = 'expected each name once, found it again';

interface Walk {
  readonly make: boolean;
  readonly any: boolean;
}

/** Where a path leads: to a folder, unless anything was allowed. */
interface Folder {
  readonly inode: number;
  readonly stack: number[];
  readonly names: string[];
}

/**
 * The layer's size as dockerd counts it (directory.Size): the bytes of everything that is not a folder, each inode
 * once, symlinks with the length of their target.
 */
export function layerSize(tree: InodeTree): number {
  let bytes = 0;
  for (const inode of tree.inodes()) bytes += tree.size(inode);
  return bytes;
}
