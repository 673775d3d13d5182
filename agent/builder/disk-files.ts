/** The files of a preload disk, read without mounting it. Paths are relative, as latin1 strings of their bytes. */
export interface DiskFiles {
  /** The names in a folder, sorted; none where it is no folder. */
  list(path: string): string[];
  /** A regular file's size, undefined where there is none. */
  sizeOf(path: string): number | undefined;
  /** A regular file's bytes, piece by piece. @throws Error where there is none, or the filesystem is damaged */
  pieces(path: string): Generator<Buffer>;
  close(): void;
}

/** A small file's bytes, undefined where there is none. @throws Error where it is larger than `limitBytes` */
export function readSmall(files: DiskFiles, path: string, limitBytes: number): Buffer | undefined {
  const size = files.sizeOf(path);
  if (size === undefined) return undefined;
  if (size > limitBytes) throw new Error(`${path}: at most ${limitBytes} bytes expected, found ${size}`);
  return Buffer.concat([...files.pieces(path)]);
}
