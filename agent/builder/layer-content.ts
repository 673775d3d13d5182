import { createHash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import { messageOf } from '../system/errors.ts';
import { assemble } from './assemble.ts';
import { FolderFiles } from './folder-files.ts';

/** Where a layer's content is: its files, and what puts its tar together again. */
export interface LayerPlace {
  readonly diffID: string;
  readonly tarSplitPath: string;
  /** The folder with its files, or a symlink to that. */
  readonly diffPath: string;
}

/** Signals are handled between so many bytes. */
const TURN_BYTES = 32 * 1024 * 1024;

/**
 * Compares a layer that is there as folders with its DiffID.
 * @param onBytes is told of the tar's bytes as they come
 * @returns what is wrong
 */
export async function layerProblem({ diffID, tarSplitPath, diffPath }: LayerPlace, onBytes: (bytes: number) => void): Promise<string | undefined> {
  try {
    const record = new FolderFiles(dirname(tarSplitPath));
    const content = new FolderFiles(diffPath);
    return await contentProblem(diffID, record.pieces(basename(tarSplitPath)), (name) => content.pieces(name), onBytes);
  } catch (error) {
    return messageOf(error);
  }
}

/**
 * Puts a layer's tar together, as `docker save` does, and compares it with its DiffID.
 * @param pieces the content of a file below the layer's root, its name as latin1
 * @param onBytes is told of the tar's bytes as they come
 * @returns what is wrong
 */
export async function contentProblem(diffID: string, tarSplit: Iterable<Buffer>, pieces: (name: string) => Iterable<Buffer>, onBytes: (bytes: number) => void = () => undefined): Promise<string | undefined> {
  try {
    const hash = createHash('sha256');
    let sinceTurn = 0;
    for await (const piece of assemble(tarSplit, pieces)) {
      hash.update(piece);
      onBytes(piece.length);
      sinceTurn += piece.length;
      if (sinceTurn < TURN_BYTES) continue;
      sinceTurn = 0;
      await new Promise((resolve) => void setImmediate(resolve));
    }
    const found = `sha256:${hash.digest('hex')}`;
    return found === diffID ? undefined : `content with digest ${diffID} expected, found ${found}`;
  } catch (error) {
    return messageOf(error);
  }
}
