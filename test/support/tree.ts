import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync, type BigIntStats } from 'node:fs';
import path from 'node:path';

/** What is below a folder, by path: kind, mode, and what was asked for; of a symlink its target. */
export type Tree = ReadonlyMap<string, string>;

/**
 * Reads everything below a folder, symlinks as such; what is mounted in it, too.
 * @param what of each file its content; that or the digest where it is long, for stores that are read hundreds of times;
 *   or its size and time, which tells also what was written as it was
 */
export function readTree(root: string, what: 'content' | 'digest' | 'times' = 'content'): Tree {
  const entries = new Map<string, string>();
  const add = (relative: string): void => {
    const file = path.join(root, relative);
    const stats = lstatSync(file, { bigint: true });
    const kind = describe(file, stats, what);
    // The folder itself is where it is for all: but that something came into it and went again shows in its time.
    if (relative !== '' || what === 'times')
      entries.set(relative, what === 'times' ? `${kind} ${stats.size} ${stats.mtimeNs}` : kind);
    if (stats.isDirectory())
      for (const name of readdirSync(file).toSorted()) add(relative === '' ? name : `${relative}/${name}`);
  };
  add('');
  return entries;
}

function describe(file: string, stats: BigIntStats, what: 'content' | 'digest' | 'times'): string {
  const mode = (Number(stats.mode) & 0o7777).toString(8);
  if (stats.isSymbolicLink()) return `link ${readlinkSync(file)}`;
  if (stats.isDirectory()) return `folder ${mode}`;
  if (!stats.isFile()) return `special ${stats.mode.toString(8)}`;
  if (what === 'times') return `file ${mode}`;
  const content = readFileSync(file);
  return `file ${mode} ${what === 'content' || content.length <= SHORT_BYTES ? content.toString('latin1') : digest(content)}`;
}

/** So much can be read in a difference. */
const SHORT_BYTES = 200;

const digest = (content: Buffer): string =>
  `${content.length} bytes ${createHash('sha256').update(content).digest('hex').slice(0, 16)}`;

/** What differs, one line a path; nothing where the trees are the same. */
export function differences(expected: Tree, found: Tree): string[] {
  return [...new Set([...expected.keys(), ...found.keys()])].toSorted().flatMap((file) => {
    const [before, after] = [expected.get(file), found.get(file)];
    return before === after ? [] : [`${file}: expected ${before ?? 'nothing'}, found ${after ?? 'nothing'}`];
  });
}
