import { basename, dirname } from 'node:path';
import { digestOf } from '../streams/digest-of.ts';
import { messageOf } from '../system/errors.ts';
import { assemble } from './assemble-layer.ts';
import type { FolderContent } from '../disk/filesystem-reader.ts';
import { FolderReader } from '../disk/folder-reader.ts';
import type { ReadBudget } from './read-budget.ts';

/** Where a layer's content is: its files, and its tar-split. */
export interface LayerPlace {
  readonly diffID: string;
  readonly tarSplitPath: string;
  /** The folder with its files, or a symlink to it. */
  readonly diffPath: string;
  /** How much may still be read of its disk. Undefined if it is not on a disk. */
  readonly budget: ReadBudget | undefined;
}

/**
 * Compares a layer that is in folders of this machine with its DiffID.
 * @param onBytes gets the number of the tar's bytes as they come
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
 * @param record the files among which its tar-split is, under the name `tarSplit`
 * @param content the files below the layer's root
 * @param onBytes gets the number of the tar's bytes as they come
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
    const tar = assemble(within(record).pieces(tarSplit), within(content), (bytes) => budget?.spend(bytes));
    const found = await digestOf(tar, ({ length }) => onBytes(length));
    return found === diffID ? undefined : `expected content with digest ${diffID}, found ${found}`;
  } catch (error) {
    return messageOf(error);
  }
}
