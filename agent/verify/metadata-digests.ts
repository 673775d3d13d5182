import { createHash } from 'node:crypto';
import { messageAt } from '../system/errors.ts';
import type { Manifest } from '../disk/manifest.ts';
import type { FilesystemReader, FolderContent } from '../disk/filesystem-reader.ts';
import type { ReadBudget } from './read-budget.ts';

/**
 * Compares a disk's metadata with the digests in its manifest. Each listed file must be there with its content, and
 * each file that the agent would read must be listed.
 * @returns what is wrong, one line for each
 */
export function metadataProblems(
  files: FilesystemReader,
  { metadata }: Pick<Manifest, 'metadata'>,
  budget: ReadBudget,
): string[] {
  const problems = Object.entries(metadata).flatMap(
    ([path, expected]) => problemOf(budget.within(files), path, expected) ?? [],
  );
  for (const path of pathsBelow(files, 'image')) {
    if (!Object.hasOwn(metadata, path))
      problems.push(`${path}: expected a file that the manifest lists, found one that it does not`);
  }
  return problems;
}

function problemOf(files: FolderContent, path: string, expected: string): string | undefined {
  try {
    const hash = createHash('sha256');
    for (const piece of files.pieces(path)) hash.update(piece);
    const found = `sha256:${hash.digest('hex')}`;
    return found === expected ? undefined : `${path}: expected content with digest ${expected}, found ${found}`;
  } catch (error) {
    return messageAt(path, error);
  }
}

/** dockerd's folders are at most five deep. */
const MAX_DEPTH = 8;

function pathsBelow(files: FilesystemReader, folder: string, depth = 0): string[] {
  if (depth > MAX_DEPTH) return [];
  return files.list(folder).flatMap((name) => {
    const path = `${folder}/${name}`;
    const kind = files.kindOf(path);
    return kind === 'folder' ? pathsBelow(files, path, depth + 1) : kind === 'file' ? [path] : [];
  });
}
