/** The files of a preload disk, read without mounting it. Paths are relative, as latin1 strings of their bytes. */
export interface FilesystemReader {
  /** What a path names, itself and not what a symlink leads to; undefined where there is nothing. */
  kindOf(path: string): 'file' | 'folder' | 'other' | undefined;
  /** The names in a folder, sorted; none where it is no folder. */
  list(path: string): string[];
  /** A regular file's size, undefined where there is none. */
  sizeOf(path: string): number | undefined;
  /**
   * A regular file's bytes, piece by piece: all, or those from `start` on and before `end`.
   * @throws Error where there is none, or the filesystem is damaged
   */
  pieces(path: string, start?: number, end?: number): Generator<Buffer>;
  close(): void;
}

/** What a layer is put together of: its folder, or that of a disk's files. */
export type FolderContent = Pick<FilesystemReader, 'sizeOf' | 'pieces'>;

/** The files below a folder. */
export function filesBelow(files: FolderContent, folder: string): FolderContent {
  return {
    sizeOf: (path) => files.sizeOf(`${folder}/${path}`),
    pieces: (path, start, end) => files.pieces(`${folder}/${path}`, start, end),
  };
}

/** A small file's bytes, undefined where there is none. @throws Error where it is larger than `limitBytes` */
export function readSmall(files: FilesystemReader, path: string, limitBytes: number): Buffer | undefined {
  const size = files.sizeOf(path);
  if (size === undefined) return undefined;
  if (size > limitBytes) throw new Error(`${path}: expected at most ${limitBytes} bytes, found ${size}`);
  return Buffer.concat([...files.pieces(path)]);
}
