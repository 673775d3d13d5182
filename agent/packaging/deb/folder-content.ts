import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { PackagedFile } from './packaged-files.ts';

/** A file of the package: its path below `/`, without the leading slash. */
export interface TreeFile {
  readonly path: string;
  readonly mode: number;
  readonly content: Buffer;
}

/**
 * Reads the files of a table.
 * @param root the folder that the table's `from` is relative to
 * @throws an Error if a file is missing
 */
export function readTree(root: string, files: readonly PackagedFile[]): TreeFile[] {
  return files.flatMap((file) => {
    const found = globSync(file.from, { cwd: root });
    if (found.length === 0) throw new Error(`Expected ${file.from} for the package, found no such file in ${root}`);
    return found.map((from) => treeFile(root, from, file));
  });
}

function treeFile(root: string, from: string, { to, mode = 0o644 }: PackagedFile): TreeFile {
  const content = readFileSync(path.join(root, from));
  const target = to.endsWith('/') ? to + path.basename(from) : to;
  return { path: target, mode, content };
}
