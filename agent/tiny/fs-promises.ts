import { closeSync, fstatSync, lstatSync, openSync, type Stats } from './fs.ts';

/** node:fs/promises, as far as it is used after READY. Each call is done at once. */
export type FileHandle = Awaited<ReturnType<typeof open>>;

export async function lstat(path: string): Promise<Stats> {
  return lstatSync(path);
}

export async function open(
  path: string,
  flags: number,
): Promise<{ readonly fd: number; stat(): Promise<Stats>; close(): Promise<void> }> {
  const fd = openSync(path, flags);
  return { fd, stat: async () => fstatSync(fd), close: async () => closeSync(fd) };
}
