import { messageAt } from '../system/errors.ts';
import { digestOf } from '../streams/digest-of.ts';
import { blobFile } from '../disk/image-targets.ts';
import type { FilesystemReader } from '../disk/filesystem-reader.ts';
import type { Manifest } from '../disk/manifest.ts';
import type { ReadBudget } from './read-budget.ts';

/**
 * Compares the blobs that a manifest lists with their digests.
 * @param onBytes is told of their bytes as they come
 * @returns what is wrong, a line each
 */
export async function blobProblems(
  files: FilesystemReader,
  { blobs = [] }: Pick<Manifest, 'blobs'>,
  budget: ReadBudget,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<string[]> {
  const problems: string[] = [];
  for (const { digest } of blobs) {
    const path = blobFile(digest);
    try {
      const found = await digestOf(budget.within(files).pieces(path), ({ length }) => onBytes(length));
      if (found !== digest) problems.push(`${path}: expected content with digest ${digest}, found ${found}`);
    } catch (error) {
      problems.push(messageAt(path, error));
    }
  }
  return problems;
}
