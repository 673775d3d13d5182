import { createHash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import { messageOf } from '../system/errors.ts';
import { assemble } from './assemble-layer.ts';
import type { FolderContent } from '../disk/filesystem-reader.ts';
import { FolderReader } from '../disk/folder-reader.ts';
import type { ReadBudget } from './read-budget.ts';

/** Where a layer's content is: its files, and what puts its tar together again. */
export interface LayerPlace {
  readonly diffID: string;
  readonly tarSplitPath: string;
  /** The folder with its files, or a symlink to that. */
  readonly diffPath: string;
  /** How much may still be read of the disk that it is on; undefined where it is on none. */
  readonly budget: ReadBudget | undefined;
}

/** Signals are handled between so many bytes. */
const TURN_BYTES = 32 * 1024 * 1024;

/**
 * Compares a layer that is there as folders with its DiffID.
 * @param onBytes is told of the tar's bytes as they come
 * @returns what is wrong
 */
export async function layerProblem(
  { diffID, tarSplitPath, diffPath, budget }: LayerPlace,
  onBytes: (bytes: number) => void,
): Promise<string | undefined> {
  try {
    return await contentProblem(
      diffID,
      new FolderReader(dirname(tarSplitPath)),
      basename(tarSplitPath),
      new FolderReader(diffPath),
      budget,
      onBytes,
    );
  } catch (error) {
    return messageOf(error);
  }
}

/**
 * Puts a layer's tar together, as `docker save` does, and compares it with its DiffID.
 * @param record where its tar-split is, under the name `tarSplit`
 * @param content the files below the layer's root
 * @param onBytes is told of the tar's bytes as they come
 * @returns what is wrong
 */
export async function contentProblem(
  diffID: string,
  record: FolderContent,
  tarSplit: string,
  content: FolderContent,
  budget: ReadBudget | undefined,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<string | undefined> {
  try {
    const within = (files: FolderContent): FolderContent => budget?.within(files) ?? files;
    const hash = createHash('sha256');
    let sinceTurn = 0;
    for await (const piece of assemble(within(record).pieces(tarSplit), within(content), (bytes) =>
      budget?.spend(bytes),
    )) {
      hash.update(piece);
      onBytes(piece.length);
      sinceTurn += piece.length;
      if (sinceTurn < TURN_BYTES) continue;
      sinceTurn = 0;
      await new Promise((resolve) => void setImmediate(resolve));
    }
    const found = `sha256:${hash.digest('hex')}`;
    return found === diffID ? undefined : `expected content with digest ${diffID}, found ${found}`;
  } catch (error) {
    return messageOf(error);
  }
}
