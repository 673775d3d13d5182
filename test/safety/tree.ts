import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';

/** A folder's content by path: kind, mode, and content or target. Times do not count. */
export type Tree = ReadonlyMap<string, string>;

/** Reads everything below a folder, symlinks as such; what is mounted in it, too. */
export function readTree(root: string): Tree {
  const entries = new Map<string, string>();
  const walk = (relative: string): void => {
    for (const name of readdirSync(path.join(root, relative))) {
      const below = relative === '' ? name : `${relative}/${name}`;
      const file = path.join(root, below);
      const stats = lstatSync(file);
      const mode = (stats.mode & 0o7777).toString(8);
      if (stats.isSymbolicLink()) entries.set(below, `link ${readlinkSync(file)}`);
      else if (stats.isDirectory()) {
        entries.set(below, `folder ${mode}`);
        walk(below);
      } else if (stats.isFile()) entries.set(below, `file ${mode} ${shorten(readFileSync(file))}`);
      else entries.set(below, `special ${stats.mode.toString(8)}`);
    }
  };
  walk('');
  return entries;
}

/** Short files as they are, so that a difference can be read; of others the digest. */
function shorten(content: Buffer): string {
  return content.length <= 200
    ? content.toString('latin1')
    : `${content.length} bytes ${createHash('sha256').update(content).digest('hex').slice(0, 16)}`;
}

/** What differs, one line a path; nothing where the trees are the same. */
export function differences(expected: Tree, found: Tree): string[] {
  return [...new Set([...expected.keys(), ...found.keys()])].toSorted().flatMap((file) => {
    const [before, after] = [expected.get(file), found.get(file)];
    return before === after ? [] : [`${file}: expected ${before ?? 'nothing'}, found ${after ?? 'nothing'}`];
  });
}
