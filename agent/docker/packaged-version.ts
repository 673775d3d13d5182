import { closeSync, constants, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { isENOENT } from '../system/errors.ts';
import { readPiece } from '../system/read-files.ts';

/**
 * Where packages have dockerd. The first is that of Docker's and Microsoft's, the second that of Debian's and Ubuntu's.
 */
const PROGRAMS = ['usr/bin/dockerd', 'usr/sbin/dockerd'];
/** The names of Docker's package, of Debian's and Ubuntu's, and of Microsoft's. */
const PACKAGES = ['docker-ce', 'docker.io', 'moby-engine'];
const DATABASE = 'var/lib/dpkg/status';
/** Where somebody may have told systemd to start another program. */
const OVERRIDES = ['etc', 'run', 'usr/local/lib'].flatMap((folder) => [
  `${folder}/systemd/system/docker.service`,
  `${folder}/systemd/system/docker.service.d`,
]);

/**
 * The version of the dockerd that will start here, as Debian's package database has it. Running dockerd to ask it would
 * take longer than all that we do. Undefined if the database does not tell, so that the program has to be asked.
 * @param root of the system, for tests
 */
export function packagedVersion(root = '/'): string | undefined {
  try {
    if (!PROGRAMS.some((path) => existsSync(join(root, path)))) return undefined;
    if (OVERRIDES.some((path) => startsOther(join(root, path)))) return undefined;
    const found = versionsIn(join(root, DATABASE));
    return found.length === 1 ? found[0] : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a unit file, or a folder of drop-ins, names a program to start. */
function startsOther(path: string): boolean {
  try {
    const files = readdirSync(path).map((name) => join(path, name));
    return files.some((file) => /^\s*ExecStart\s*=/m.test(readFileSync(file, 'utf8')));
  } catch (error) {
    // A file instead of a folder is a whole unit, a link to /dev/null a unit that does not start.
    return !isENOENT(error);
  }
}

/** How much of the database is looked at together. A whole megabyte would be memory that is new to the process. */
const PIECE_BYTES = 64 * 1024;
const LONGEST_LINE = Math.max(...PACKAGES.map((name) => lineOf(name).length));

function lineOf(name: string): string {
  return `\nPackage: ${name}\n`;
}

/** The versions of the packages that are installed. */
function versionsIn(database: string): string[] {
  const fd = openSync(database, constants.O_RDONLY);
  try {
    const piece = Buffer.allocUnsafe(PIECE_BYTES);
    return [...placesIn(fd, piece)].flatMap((place) => versionIn(piece.subarray(0, readPiece(fd, piece, place))) ?? []);
  } finally {
    closeSync(fd);
  }
}

/** Where the packages' entries begin, in bytes. */
function placesIn(fd: number, piece: Buffer): Iterable<number> {
  const places = new Map<string, number>();
  // As if a line had ended before the first.
  let [start, kept] = [-1, 1];
  piece[0] = '\n'.charCodeAt(0);
  for (;;) {
    const count = readSync(fd, piece, kept, piece.length - kept, start + kept);
    if (count === 0) return places.values();
    const length = kept + count;
    const part = piece.subarray(0, length);
    for (const name of PACKAGES) {
      const at = places.has(name) ? -1 : part.indexOf(lineOf(name));
      if (at !== -1) places.set(name, start + at + 1);
    }
    kept = Math.min(length, LONGEST_LINE);
    piece.copyWithin(0, length - kept, length);
    start += length - kept;
  }
}

/**
 * The version in an entry: 29.0.1 in `5:29.0.1-1~debian.13~trixie`, and 26.1.5 in `26.1.5+dfsg1-9+b4`. Only the entry
 * is turned into text, and not all that follows.
 * @param rest the database from the entry on
 */
function versionIn(rest: Buffer): string | undefined {
  const end = rest.indexOf('\n\n');
  const entry = rest.toString('latin1', 0, end === -1 ? rest.length : end);
  if (!/^Status: \S+ \S+ installed$/m.test(entry)) return undefined;
  return /^Version: (?:\d+:)?(\d+\.\d+[^-+~\s]*)/m.exec(entry)?.[1];
}
