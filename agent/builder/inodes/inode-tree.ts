import { BytePages } from './byte-pages.ts';
import { EntryIndex } from './entry-index.ts';
import { RecordPages } from './record-pages.ts';
import { NO_XATTRS, type InodeAttributes, type InodeBody, type Inode } from './inode.ts';
import { packXattrs, unpackXattrs } from './packed-xattrs.ts';

/** The words of an entry, which is a name in a folder. */
const ENTRY = { folder: 0, next: 1, inode: 2, name: 3, lengthAndFlags: 4 } as const;
const ENTRY_WORDS = 5;
/** The words of an inode. What the last three mean depends on its kind. */
const INODE = {
  kindAndMode: 0,
  uid: 1,
  gid: 2,
  seconds: 3,
  secondsHighAndNanos: 4,
  links: 5,
  ino: 6,
  xattrs: 7,
  first: 8,
  second: 9,
  third: 10,
} as const;
const INODE_WORDS = 11;
const KINDS = ['folder', 'file', 'symlink', 'character', 'block', 'fifo'] as const;
const MAX_NAME_BYTES = 255;
const SETGID = 0o2000;

/**
 * Folders and their content in a packed form: some 64 bytes for each file, plus its name and 6 to 11 bytes in the
 * index. JavaScript objects would take four times as much, and a layer may have hundreds of thousands of files. Inodes
 * and entries are numbers from 1 on. Names are latin1 strings of their bytes.
 */
export class InodeTree {
  readonly root: number;
  readonly #inodes = new RecordPages(INODE_WORDS);
  readonly #entries = new RecordPages(ENTRY_WORDS);
  readonly #bytes = new BytePages();
  readonly #index = new EntryIndex((entry) => this.#hashOf(entry));

  constructor(root: InodeAttributes) {
    this.root = this.add({ kind: 'folder' }, root);
  }

  /** Adds an inode that is not in a folder yet. @throws Error if the owner's numbers do not fit */
  add(body: InodeBody, attributes: InodeAttributes): number {
    const inode = this.#inodes.add();
    this.#inodes.set(inode, INODE.kindAndMode, KINDS.indexOf(body.kind) << 16);
    this.setAttributes(inode, attributes);
    if (body.kind === 'file') {
      this.#inodes.set(inode, INODE.first, body.size % 2 ** 32);
      this.#inodes.set(inode, INODE.second, Math.floor(body.size / 2 ** 32));
      this.setBlock(inode, body.block);
    } else if (body.kind === 'symlink') {
      this.#inodes.set(inode, INODE.first, this.#bytes.append(body.target));
      this.#inodes.set(inode, INODE.second, body.target.length);
    } else if (body.kind !== 'folder') {
      this.#inodes.set(inode, INODE.first, body.major);
      this.#inodes.set(inode, INODE.second, body.minor);
    }
    this.setLinks(inode, 1);
    return inode;
  }

  /** Replaces all attributes. @throws Error if the owner's numbers do not fit */
  setAttributes(inode: number, { mode, mtime, xattrs, ...owner }: InodeAttributes): void {
    this.#inodes.set(inode, INODE.kindAndMode, (this.#inodes.get(inode, INODE.kindAndMode) & ~0xffff) | mode);
    this.setOwner(inode, owner);
    this.#inodes.set(inode, INODE.seconds, mtime.sec % 2 ** 32);
    this.#inodes.set(inode, INODE.secondsHighAndNanos, (mtime.nsec << 2) | Math.floor(mtime.sec / 2 ** 32));
    this.#setXattrs(inode, xattrs);
  }

  setOwner(inode: number, { uid, gid }: Pick<InodeAttributes, 'uid' | 'gid'>): void {
    if (uid < 0 || uid > 0xffffffff || gid < 0 || gid > 0xffffffff)
      throw new Error(`expected a uid and gid of 32 bits, found ${uid}:${gid}`);
    this.#inodes.set(inode, INODE.uid, uid);
    this.#inodes.set(inode, INODE.gid, gid);
  }

  setXattr(inode: number, name: string, value: Buffer): void {
    this.#setXattrs(inode, new Map([...this.xattrs(inode), [name, value]]));
  }

  #setXattrs(inode: number, xattrs: ReadonlyMap<string, Buffer>): void {
    if (xattrs.size === 0) {
      this.#inodes.set(inode, INODE.xattrs, 0);
      return;
    }
    const packed = packXattrs(xattrs);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(packed.length);
    this.#inodes.set(inode, INODE.xattrs, this.#bytes.append(length) + 1);
    this.#bytes.append(packed);
  }

  /** The first block of a file's content. */
  setBlock(inode: number, block: number): void {
    this.#inodes.set(inode, INODE.third, block);
  }

  setLinks(inode: number, links: number): void {
    this.#inodes.set(inode, INODE.links, links);
  }

  setIno(inode: number, ino: number): void {
    this.#inodes.set(inode, INODE.ino, ino);
  }

  kind(inode: number): Inode['kind'] {
    return KINDS[this.#inodes.get(inode, INODE.kindAndMode) >>> 16] ?? 'folder';
  }

  links(inode: number): number {
    return this.#inodes.get(inode, INODE.links);
  }

  ino(inode: number): number {
    return this.#inodes.get(inode, INODE.ino);
  }

  /** A file's size, or the length of a symlink's target; 0 for other kinds. */
  size(inode: number): number {
    const kind = this.kind(inode);
    if (kind === 'file') return this.#inodes.get(inode, INODE.second) * 2 ** 32 + this.#inodes.get(inode, INODE.first);
    return kind === 'symlink' ? this.#inodes.get(inode, INODE.second) : 0;
  }

  /** A symlink's target. */
  target(inode: number): Buffer {
    return this.#bytes.read(this.#inodes.get(inode, INODE.first), this.#inodes.get(inode, INODE.second));
  }

  isEmpty(folder: number): boolean {
    return this.#inodes.get(folder, INODE.first) === 0;
  }

  /**
   * Whether it is root's, has no extended attributes and is no device, which is found without making an object of it.
   */
  isPlain(inode: number): boolean {
    const word = (index: number): number => this.#inodes.get(inode, index);
    const kind = this.kind(inode);
    return (
      kind !== 'character' &&
      kind !== 'block' &&
      word(INODE.uid) === 0 &&
      word(INODE.gid) === 0 &&
      word(INODE.xattrs) === 0
    );
  }

  /** Everything about an inode, as it is now. */
  inode(inode: number): Inode {
    const word = (index: number): number => this.#inodes.get(inode, index);
    const high = word(INODE.secondsHighAndNanos);
    return {
      ...this.#body(inode),
      mode: word(INODE.kindAndMode) & 0xffff,
      uid: word(INODE.uid),
      gid: word(INODE.gid),
      mtime: { sec: (high & 3) * 2 ** 32 + word(INODE.seconds), nsec: high >>> 2 },
      xattrs: this.xattrs(inode),
      links: this.links(inode),
      ino: this.ino(inode),
    };
  }

  /** The inodes that are in a folder. */
  *inodes(): Generator<number> {
    for (let inode = 1; inode <= this.#inodes.last; inode += 1) if (this.links(inode) > 0) yield inode;
  }

  /** The entry of that name, 0 if there is none. */
  find(folder: number, name: string): number {
    let value = startOfHash(folder);
    for (let index = 0; index < name.length; index += 1) value = Math.imul(value ^ name.charCodeAt(index), HASH_PRIME);
    return this.#index.find(
      endOfHash(value),
      (entry) => this.#entries.get(entry, ENTRY.folder) === folder && this.#compare(entry, name) === 0,
    );
  }

  /**
   * Gives an inode a name in a folder. It replaces any other inode of that name.
   * @returns the entry
   * @throws Error if the name is too long
   */
  link(folder: number, name: string, inode: number): number {
    let entry = this.find(folder, name);
    if (entry === 0) {
      if (name.length > MAX_NAME_BYTES)
        throw new Error(`expected names of at most ${MAX_NAME_BYTES} bytes, found one of ${name.length}`);
      entry = this.#entries.add();
      this.#entries.set(entry, ENTRY.folder, folder);
      this.#entries.set(entry, ENTRY.name, this.#bytes.appendText(name));
      this.#entries.set(entry, ENTRY.lengthAndFlags, name.length);
      this.#append(folder, entry);
      this.#index.add(entry);
    }
    this.#entries.set(entry, ENTRY.inode, inode);
    if (this.kind(inode) === 'folder') this.#inodes.set(inode, INODE.third, entry);
    return entry;
  }

  inodeOf(entry: number): number {
    return this.#entries.get(entry, ENTRY.inode);
  }

  nameLength(entry: number): number {
    return this.#entries.get(entry, ENTRY.lengthAndFlags) & 0xff;
  }

  copyName(entry: number, target: Buffer, start: number): void {
    this.#bytes.copy(this.#entries.get(entry, ENTRY.name), this.nameLength(entry), target, start);
  }

  /** Marks that stay with a name, whichever inode has it: bits 0 to 23. */
  flags(entry: number): number {
    return this.#entries.get(entry, ENTRY.lengthAndFlags) >>> 8;
  }

  setFlags(entry: number, flags: number): void {
    this.#entries.set(entry, ENTRY.lengthAndFlags, (flags << 8) | this.nameLength(entry));
  }

  /** A folder's entries in the order of their names' bytes. */
  children(folder: number): number[] {
    const entries: number[] = [];
    let sorted = true;
    for (let entry = this.#inodes.get(folder, INODE.first); entry !== 0; entry = this.#entries.get(entry, ENTRY.next)) {
      sorted &&= entries.length === 0 || this.#compareEntries(entries.at(-1) ?? 0, entry) < 0;
      entries.push(entry);
    }
    if (sorted) return entries;
    entries.sort((a, b) => this.#compareEntries(a, b));
    this.#inodes.set(folder, INODE.first, 0);
    for (const entry of entries) this.#append(folder, entry);
    return entries;
  }

  /** A folder and all folders below it, parents first, in the order of their names. */
  *folders(folder: number): Generator<number> {
    const rest = [folder];
    for (let next = rest.pop(); next !== undefined; next = rest.pop()) {
      yield next;
      for (const entry of this.children(next).reverse())
        if (this.kind(this.inodeOf(entry)) === 'folder') rest.push(this.inodeOf(entry));
    }
  }

  /** The path below the root, or below the topmost folder if that is not in another one. */
  path(entry: number): string {
    const names: string[] = [];
    for (let at = entry; at !== 0;) {
      names.unshift(this.#bytes.read(this.#entries.get(at, ENTRY.name), this.nameLength(at)).toString('latin1'));
      const folder = this.#entries.get(at, ENTRY.folder);
      at = folder === this.root ? 0 : this.#inodes.get(folder, INODE.third);
    }
    return names.join('/');
  }

  compareName(entry: number, name: string): number {
    return this.#compare(entry, name);
  }

  #body(inode: number): InodeBody {
    const kind = this.kind(inode);
    if (kind === 'folder') return { kind };
    if (kind === 'file') return { kind, size: this.size(inode), block: this.#inodes.get(inode, INODE.third) };
    if (kind === 'symlink') return { kind, target: this.target(inode) };
    return { kind, major: this.#inodes.get(inode, INODE.first), minor: this.#inodes.get(inode, INODE.second) };
  }

  /**
   * The group of a file that is made in a folder: the folder's group if that is setgid, otherwise root's (fs/inode.c,
   * inode_init_owner).
   */
  gidWithin(folder: number): number {
    return (this.#inodes.get(folder, INODE.kindAndMode) & SETGID) === 0 ? 0 : this.#inodes.get(folder, INODE.gid);
  }

  xattrs(inode: number): ReadonlyMap<string, Buffer> {
    const at = this.#inodes.get(inode, INODE.xattrs) - 1;
    return at < 0 ? NO_XATTRS : unpackXattrs(this.#bytes.read(at + 4, this.#bytes.read(at, 4).readUInt32LE()));
  }

  /** Appends an entry to a folder. */
  #append(folder: number, entry: number): void {
    const last = this.#inodes.get(folder, INODE.first) === 0 ? 0 : this.#inodes.get(folder, INODE.second);
    if (last === 0) this.#inodes.set(folder, INODE.first, entry);
    else this.#entries.set(last, ENTRY.next, entry);
    this.#entries.set(entry, ENTRY.next, 0);
    this.#inodes.set(folder, INODE.second, entry);
  }

  #compare(entry: number, name: string): number {
    const length = this.nameLength(entry);
    const start = this.#entries.get(entry, ENTRY.name);
    for (let index = 0; index < length && index < name.length; index += 1) {
      const difference = this.#bytes.at(start + index) - name.charCodeAt(index);
      if (difference !== 0) return difference;
    }
    return length - name.length;
  }

  #compareEntries(a: number, b: number): number {
    const lengthA = this.nameLength(a);
    const lengthB = this.nameLength(b);
    const startA = this.#entries.get(a, ENTRY.name);
    const startB = this.#entries.get(b, ENTRY.name);
    for (let index = 0; index < lengthA && index < lengthB; index += 1) {
      const difference = this.#bytes.at(startA + index) - this.#bytes.at(startB + index);
      if (difference !== 0) return difference;
    }
    return lengthA - lengthB;
  }

  #hashOf(entry: number): number {
    const start = this.#entries.get(entry, ENTRY.name);
    const length = this.nameLength(entry);
    let value = startOfHash(this.#entries.get(entry, ENTRY.folder));
    for (let index = 0; index < length; index += 1)
      value = Math.imul(value ^ this.#bytes.at(start + index), HASH_PRIME);
    return endOfHash(value);
  }
}

/** FNV-1a over a name's bytes, with murmur3's last step, which spreads it over the lower bits. */
const HASH_PRIME = 0x01000193;

function startOfHash(folder: number): number {
  return Math.imul(folder, 0x9e3779b1) ^ 0x811c9dc5;
}

function endOfHash(hash: number): number {
  let value = hash;
  value = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13), 0xc2b2ae35);
  return (value ^ (value >>> 16)) >>> 0;
}
