/**
 * The files of a preload disk: of an ext4 or erofs that is read without mounting it, or of the folder on which one is
 * mounted. All code reads disks through this, so that it does not matter where the disk is. No symlink is followed, and
 * nothing outside of the disk is read. Paths are relative to its root, as latin1 strings of their bytes.
 */
export interface FilesystemReader {
  /** The filesystem's size in bytes. */
  capacity(): number;
  /** A path as one of this machine, or unchanged if the disk is not mounted. */
  pathOf(path: string): string;
  /** What a path names, without following a symlink. Undefined if there is nothing. */
  kindOf(path: string): 'file' | 'folder' | 'other' | undefined;
  /** The names in a folder, sorted. None if it is no folder. @throws Error if the filesystem is damaged */
  list(path: string): string[];
  /** The names of the folders in a folder, in any order. @throws Error if the filesystem is damaged */
  subfolders(path: string): string[];
  /** A file's size in bytes. Undefined if there is nothing. @throws Error if it is no regular file */
  sizeOf(path: string): number | undefined;
  /** A file's bytes. Undefined if there is nothing. @throws Error if it is no regular file, or too large */
  read(path: string, limitBytes: number): Buffer | undefined;
  /**
   * A regular file's bytes, piece by piece: all of them, or those from `start` to before `end`.
   * @throws Error if there is no such file, or the filesystem is damaged
   */
  pieces(path: string, start?: number, end?: number): Generator<Buffer>;
  /** The digest that a file's content must have, if that is known. */
  digestOf?(path: string): string | undefined;
  close(): void;
}

/** What is needed of files to put a layer together. */
export type FolderContent = Pick<FilesystemReader, 'sizeOf' | 'pieces'>;

/** The files below a folder, with paths relative to it. */
export function filesBelow(files: FolderContent, folder: string): FolderContent {
  return {
    sizeOf: (path) => files.sizeOf(`${folder}/${path}`),
    pieces: (path, start, end) => files.pieces(`${folder}/${path}`, start, end),
  };
}
