/** An archive of images as named files, whether it is a tar or a folder. */
export interface Archive {
  /** As the user named it. */
  readonly name: string;
  has(entry: string): boolean;
  /** A file's size in bytes. @throws PreloaderError where it is not there */
  sizeOf(entry: string): number;
  /** A small file's bytes. @throws PreloaderError where it is not there or larger than `limitBytes` */
  read(entry: string, limitBytes: number): Promise<Buffer>;
  /** A file's bytes as a stream. @throws PreloaderError where it is not there */
  stream(entry: string): AsyncIterable<Uint8Array>;
  /** Whether something that was looked for lies in this file, as `identityOf` tells it. */
  readFrom(identity: string): boolean;
}
