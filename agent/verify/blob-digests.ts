import { createHash } from 'node:crypto';
import { messageAt } from '../system/errors.ts';
import { blobFile } from '../disk/image-targets.ts';
import type { FilesystemReader } from '../disk/filesystem-reader.ts';
import type { Manifest } from '../disk/manifest.ts';
import type { ReadBudget } from './read-budget.ts';

/** Signals are handled between so many bytes. */
const TURN_BYTES = 32 * 1024 * 1024;

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
      const hash = createHash('sha256');
      let sinceTurn = 0;
      for (const piece of budget.within(files).pieces(path)) {
        hash.update(piece);
        onBytes(piece.length);
        sinceTurn += piece.length;
        if (sinceTurn < TURN_BYTES) continue;
        sinceTurn = 0;
        await new Promise((resolve) => void setImmediate(resolve));
      }
      const found = `sha256:${hash.digest('hex')}`;
      if (found !== digest) problems.push(`${path}: expected content with digest ${digest}, found ${found}`);
    } catch (error) {
      problems.push(messageAt(path, error));
    }
  }
  return problems;
}
