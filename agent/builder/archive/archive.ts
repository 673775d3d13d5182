/** An archive of images as named files, whether it is a tar or a folder. */
export interface Archive {
  /** As the user named it. */
  readonly name: string;
  has(entry: string): boolean;
  /** A file's size in bytes. @throws PreloaderError if it does not exist */
  sizeOf(entry: string): number;
  /** A small file's bytes. @throws PreloaderError if it does not exist or is larger than `limitBytes` */
  read(entry: string, limitBytes: number): Promise<Buffer>;
  /** The first bytes of a file, at most `length`. @throws PreloaderError if it does not exist */
  startOf(entry: string, length: number): Buffer;
  /** A file's bytes as a stream. @throws PreloaderError if it does not exist */
  stream(entry: string): AsyncIterable<Uint8Array>;
  /** Whether anything was read from the file with this identity (see `identityOf`). */
  readFrom(identity: string): boolean;
}
