/**
 * The files of a preload disk: of an ext4 or erofs that is read without mounting it, or of a folder where one is mounted.
 * Whoever reads a disk reads it through this, so that the answers do not hang on where the disk is. No symlink is
 * followed, and nothing outside of the disk is read. Paths are relative to its root, as latin1 strings of their bytes.
 */
export interface FilesystemReader {
  /** The filesystem's size in bytes. */
  capacity(): number;
  /** A path as one of this machine; the path itself where the disk is not mounted. */
  pathOf(path: string): string;
  /** What a path names, itself and not what a symlink leads to; undefined where there is nothing. */
  kindOf(path: string): 'file' | 'folder' | 'other' | undefined;
  /** The names in a folder, sorted; none where it is no folder. @throws Error where the filesystem is damaged */
  list(path: string): string[];
  /** Those of them that are folders, in any order. @throws Error where the filesystem is damaged */
  subfolders(path: string): string[];
  /** A file's size in bytes, undefined where there is nothing. @throws Error where it is no regular file */
  sizeOf(path: string): number | undefined;
  /** A file's bytes, undefined where there is nothing. @throws Error where it is no regular file, or too large */
  read(path: string, limitBytes: number): Buffer | undefined;
  /**
   * A regular file's bytes, piece by piece: all, or those from `start` on and before `end`.
   * @throws Error where there is none, or the filesystem is damaged
   */
  pieces(path: string, start?: number, end?: number): Generator<Buffer>;
  /** What a file's content must have, where that is known. */
  digestOf?(path: string): string | undefined;
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
