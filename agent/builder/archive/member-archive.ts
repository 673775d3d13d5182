import { closeSync, constants, createReadStream, fstatSync, openSync, readSync } from 'node:fs';
import { Readable } from 'node:stream';
import type { Archive } from './archive.ts';
import { archiveError } from './archive-error.ts';
import { printable } from '../../text/printable.ts';

/** A file in an archive: a range of bytes of a file on this machine. */
export interface Member {
  readonly path: string;
  readonly offset: number;
  readonly sizeBytes: number;
  /** Which file it was when the archive was listed. Only for folders, which others may change meanwhile. */
  readonly identity?: string;
}

const CHUNK_BYTES = 1024 * 1024;
const MAX_LINKS = 8;

/** An archive whose files have been listed by name, with the links between them. */
export class MemberArchive implements Archive {
  readonly name: string;
  readonly #members: ReadonlyMap<string, Member>;
  readonly #links: ReadonlyMap<string, string>;
  readonly #sources = new Set<string>();

  /**
   * @param links the target of each symlink by name, as it is written in the link; one that begins with `/` starts at
   * the archive's root
   */
  constructor(name: string, members: ReadonlyMap<string, Member>, links: ReadonlyMap<string, string>) {
    this.name = name;
    this.#members = members;
    this.#links = links;
  }

  /** True also for a link that leads out of the archive: reading it then says so. */
  has(entry: string): boolean {
    const found = this.#resolve(entry);
    return found === undefined || this.#members.has(found);
  }

  sizeOf(entry: string): number {
    return this.#member(entry).sizeBytes;
  }

  async read(entry: string, limitBytes: number): Promise<Buffer> {
    const member = this.#member(entry);
    if (member.sizeBytes > limitBytes) {
      throw archiveError(
        this.name,
        `entry '${printable(entry)}': expected at most ${limitBytes} bytes, found ${member.sizeBytes}`,
      );
    }
    const pieces: Uint8Array[] = [];
    for await (const piece of this.stream(entry)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  startOf(entry: string, length: number): Buffer {
    const { path, offset, sizeBytes, identity } = this.#member(entry);
    const fd = this.#openSame(entry, path, identity);
    try {
      const buffer = Buffer.alloc(Math.min(length, sizeBytes));
      return buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, offset));
    } finally {
      closeSync(fd);
    }
  }

  stream(entry: string): AsyncIterable<Uint8Array> {
    const { path, offset, sizeBytes, identity } = this.#member(entry);
    if (sizeBytes === 0) return Readable.from([]);
    const range = { start: offset, end: offset + sizeBytes - 1, highWaterMark: CHUNK_BYTES };
    return identity === undefined ? createReadStream(path, range) : this.#streamSame(entry, path, identity, range);
  }

  readFrom(identity: string): boolean {
    return this.#sources.has(identity);
  }

  #member(entry: string): Member {
    const name = this.#resolve(entry);
    if (name === undefined) {
      throw archiveError(
        this.name,
        `entry '${printable(entry)}': expected a file in the folder, found a symlink that leads out of it: ` +
          'copy the folder with cp --recursive --dereference, and build from the copy',
      );
    }
    const member = this.#members.get(name);
    if (member === undefined) throw archiveError(this.name, `expected the entry '${printable(entry)}', found none`);
    if (member.identity !== undefined) this.#sources.add(member.identity);
    return member;
  }

  /**
   * Opens the file that was listed, and nothing that has since taken its place or that of a folder on the way to it.
   */
  #openSame(entry: string, path: string, identity: string | undefined): number {
    if (identity === undefined) return openSync(path, 'r');
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    if (identityOf(fstatSync(fd)) === identity) return fd;
    closeSync(fd);
    throw archiveError(
      this.name,
      `entry '${printable(entry)}': expected the file that was listed, found another: ` +
        'do not change the folder during a build',
    );
  }

  async *#streamSame(entry: string, path: string, identity: string, range: object): AsyncGenerator<Uint8Array> {
    const fd = this.#openSame(entry, path, identity);
    try {
      yield* createReadStream(path, { ...range, fd, autoClose: false }) as AsyncIterable<Uint8Array>;
    } finally {
      closeSync(fd);
    }
  }

  /**
   * The name with all links followed; undefined if a link leads out. docker up to 24 saves a layer once and links to it
   * where it is used again. Like dockerd, this never looks outside (moby/sys, FollowSymlinkInScope).
   */
  #resolve(entry: string): string | undefined {
    const todo = entry.split('/').reverse();
    let done: string[] = [];
    let followed = 0;
    for (let part = todo.pop(); part !== undefined; part = todo.pop()) {
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (done.pop() === undefined && followed > 0) return undefined;
        continue;
      }
      const target = this.#links.get([...done, part].join('/'));
      if (target === undefined || followed === MAX_LINKS) {
        done.push(part);
        continue;
      }
      followed += 1;
      if (target.startsWith('/')) done = [];
      todo.push(...target.split('/').reverse());
    }
    return done.join('/');
  }
}

/** Identifies a file on this machine, whatever its names are. */
export function identityOf({ dev, ino }: { readonly dev: number; readonly ino: number }): string {
  return `${dev}:${ino}`;
}
