import { isENOENT, messageOf, PreloaderError } from '../system/errors.ts';

/** Runs qemu-img. @throws PreloaderError TOOL_MISSING with the package, BUILD_FAILED with what it said */
export async function qemuImg(...args: readonly string[]): Promise<void> {
  const { execa } = await import('execa');
  const { failed, cause, stderr, code } = await execa('qemu-img', args, { reject: false, stdin: 'ignore' });
  if (!failed) return;
  if (code === 'ENOENT' || isENOENT(cause)) throw new PreloaderError('TOOL_MISSING', "the program 'qemu-img' expected, found none: install the package qemu-utils");
  throw new PreloaderError('BUILD_FAILED', `qemu-img ${args[0] ?? ''}: ${messageOf(stderr.trim() || cause)}`);
}
