import { attributes, EPOCH, folder, walk, type FileNode, type FileTime, type FolderNode, type TreeNode } from './tree-node.ts';
import type { TarEntry } from './tar-reader.ts';

const WHITEOUT = '.wh.';
const OPAQUE_WHITEOUT = '.wh..wh..opq';
const OPAQUE_XATTR = 'trusted.overlay.opaque';
/** As the kernel follows. */
const MAX_LINKS = 40;
/** dockerd makes implied parents with 0777 less its own umask of 022, owned by root (archive.go, createImpliedDirectories). */
const IMPLIED_MODE = 0o755;

/** Where a file's payload belongs, and the name by which it is found below the layer's root. */
export interface Content {
  readonly node: FileNode;
  readonly path: string;
}

/**
 * A layer's files, as dockerd's overlay2 driver unpacks them (moby, archive.go: Unpack with OverlayWhiteoutFormat):
 * whiteouts become 0:0 devices, opaque folders an xattr, and names are resolved inside the layer's root, symlinks too.
 */
export class LayerTree {
  readonly root: FolderNode = folder(0o755);
  readonly #seen = new Set<string>();

  /**
   * Adds an entry. Returns where its payload belongs, undefined where it is no regular file.
   * @throws Error with what was expected and what was found; dockerd refuses such entries, too
   */
  add(entry: TarEntry): Content | undefined {
    const name = clean(entry.name.toString('latin1'));
    if (name === '..' || name.startsWith('../')) throw new Error("a path below the layer's root expected, found one that climbs above it");
    // dockerd's tar-split takes each name only once (tar/storage, ErrDuplicatePath).
    if (this.#seen.has(name)) throw new Error('each name once expected, found it again');
    this.#seen.add(name);
    if (name === '.') return undefined;
    if (name === '/') {
      if (entry.type === '5') apply(this.root, entry);
      return undefined;
    }
    const parts = name.split('/').filter((part) => part !== '');
    const base = parts.pop() ?? '';
    const parent = this.#parent(parts);
    if (base === OPAQUE_WHITEOUT) {
      setXattr(parent.node, OPAQUE_XATTR, Buffer.from('y'));
      return undefined;
    }
    if (base.startsWith(WHITEOUT)) {
      this.#whiteout(parent.node, base.slice(WHITEOUT.length), entry);
      return undefined;
    }
    return this.#put(parent, base, entry);
  }

  #put(parent: Folder, base: string, entry: TarEntry): Content | undefined {
    const current = parent.node.children.get(base);
    if (current?.kind === 'folder' && entry.type === '5') {
      apply(current, entry);
      return undefined;
    }
    if (current !== undefined) refuseLoss(current);
    const node = entry.type === '1' ? this.#hardLink(entry) : create(entry);
    parent.node.children.set(base, node);
    if (current !== undefined && current.links > 0) current.links -= 1;
    if (entry.type === '1') {
      node.links += 1;
      // Mode and times of a hard link to a symlink are left alone (archive.go, handleLChmod).
      if (node.kind === 'symlink') {
        node.uid = entry.uid;
        node.gid = entry.gid;
      } else apply(node, entry);
      return undefined;
    }
    apply(node, entry);
    return node.kind === 'file' ? { node, path: [...parent.names, base].join('/') } : undefined;
  }

  #whiteout(parent: FolderNode, base: string, entry: TarEntry): void {
    if (base === '' || base === '.' || base === '..') throw new Error("a whiteout of a name expected, found '.wh.' alone");
    if (parent.children.has(base)) throw new Error('a whiteout of what a layer below has expected, found one of what this layer itself has');
    // mknod with mode 0, owner from the header (archive_linux.go, ConvertRead).
    parent.children.set(base, { kind: 'character', ...attributes(0, timeOf(entry)), uid: entry.uid, gid: entry.gid, major: 0, minor: 0 });
  }

  #hardLink(entry: TarEntry): TreeNode {
    const target = clean(`/${entry.linkName.toString('latin1')}`);
    const parts = target.split('/').filter((part) => part !== '');
    const base = parts.pop() ?? '';
    const node = this.#walk([this.root], [], parts, false, { left: MAX_LINKS }).node.children.get(base);
    if (node === undefined || node.kind === 'folder') throw new Error(`a hard link to a file of the layer expected, found one to '${printable(target)}', which is ${node === undefined ? 'not there' : 'a folder'}`);
    return node;
  }

  #parent(parts: readonly string[]): Folder {
    return this.#walk([this.root], [], parts, true, { left: MAX_LINKS });
  }

  /** Follows a path from a folder as the kernel does in a chroot; folders that are missing are made where asked for. */
  #walk(above: FolderNode[], aboveNames: string[], parts: readonly string[], make: boolean, links: { left: number }): Folder {
    let stack = [...above];
    let names = [...aboveNames];
    for (const part of parts) {
      const node = stack.at(-1) ?? this.root;
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (stack.length > 1) stack.pop();
        names.pop();
        continue;
      }
      let child = node.children.get(part);
      if (child === undefined) {
        if (!make) throw new Error(`the folder '${printable([...names, part].join('/'))}' expected in the layer, found none`);
        child = folder(IMPLIED_MODE);
        node.children.set(part, child);
      }
      if (child.kind === 'symlink') {
        links.left -= 1;
        if (links.left < 0) throw new Error(`at most ${MAX_LINKS} symlinks on the way expected, found more`);
        const target = child.target.toString('latin1');
        const absolute = target.startsWith('/');
        const found = this.#walk(absolute ? [this.root] : stack, absolute ? [] : names, target.split('/'), false, links);
        stack = found.stack;
        names = found.names;
      } else if (child.kind === 'folder') {
        stack.push(child);
        names.push(part);
      } else throw new Error(`a folder expected at '${printable([...names, part].join('/'))}', found a ${child.kind}`);
    }
    return { node: stack.at(-1) ?? this.root, stack, names };
  }
}

interface Folder {
  readonly node: FolderNode;
  readonly stack: FolderNode[];
  readonly names: string[];
}

/**
 * The layer's size as dockerd counts it (directory.Size): bytes of all that is no folder, each inode once, symlinks
 * with their targets' lengths.
 */
export function layerSize(root: FolderNode): number {
  const counted = new Set<TreeNode>();
  let bytes = 0;
  for (const { node } of walk(root)) {
    if (node.kind === 'folder' || counted.has(node)) continue;
    if (node.links > 1) counted.add(node);
    if (node.kind === 'file') bytes += node.size;
    if (node.kind === 'symlink') bytes += node.target.length;
  }
  return bytes;
}

/** A name for a message. */
export function printable(name: string): string {
  const text = Buffer.from(name, 'latin1').toString('utf8');
  return JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}…` : text).slice(1, -1);
}

function create(entry: TarEntry): TreeNode {
  const base = attributes(0);
  switch (entry.type) {
    case '0': case 'S':
      return { kind: 'file', ...base, size: entry.size, block: 0 };
    case '2':
      if (entry.linkName.length === 0 || entry.linkName.length > 4095) throw new Error(`a symlink's target of 1 to 4095 bytes expected, found ${entry.linkName.length}`);
      return { kind: 'symlink', ...base, target: Buffer.from(entry.linkName) };
    case '3': case '4':
      return { kind: entry.type === '3' ? 'character' : 'block', ...base, major: entry.deviceMajor, minor: entry.deviceMinor };
    case '5':
      return { kind: 'folder', ...base, children: new Map() };
    case '6':
      return { kind: 'fifo', ...base, major: 0, minor: 0 };
    default:
      throw new Error(`a file, folder, link, device or fifo expected, found the tar type ${JSON.stringify(entry.type)}`);
  }
}

function apply(node: TreeNode, entry: TarEntry): void {
  node.mode = node.kind === 'symlink' ? 0o777 : entry.mode & 0o7777;
  node.uid = entry.uid;
  node.gid = entry.gid;
  node.mtime = timeOf(entry);
  for (const [name, value] of entry.xattrs) setXattr(node, name, value);
}

/** dockerd gives what is before 1970, or after what the system can, the time 0 (boundTime). */
function timeOf(entry: TarEntry): FileTime {
  return entry.mtimeSec < 0 || entry.mtimeSec > MAX_TIME_SEC ? EPOCH : { sec: entry.mtimeSec, nsec: entry.mtimeNsec };
}

/** 2446-05-10: ext4's last second; dockerd's own bound is 2262. */
const MAX_TIME_SEC = 9_223_372_036;

function setXattr(node: TreeNode, name: string, value: Buffer): void {
  node.xattrs ??= new Map();
  node.xattrs.set(name, value);
}

/** What was unpacked before must stay: dockerd would remove it, and could not save the image again. */
function refuseLoss(current: TreeNode): void {
  if (current.kind === 'folder' ? current.children.size > 0 : current.kind === 'file' && current.size > 0) {
    throw new Error('each name once expected, found one that replaces what this layer itself has');
  }
}

/** Go's path.Clean, on bytes. */
export function clean(path: string): string {
  const rooted = path.startsWith('/');
  const out: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..' && out.length > 0 && out.at(-1) !== '..') out.pop();
    else if (part !== '..' || !rooted) out.push(part);
  }
  const joined = out.join('/');
  if (rooted) return `/${joined}`;
  return joined === '' ? '.' : joined;
}
