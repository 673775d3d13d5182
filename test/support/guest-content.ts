import path from 'node:path';
import { execa } from 'execa';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import type { GuestContent } from './guest.ts';

/**
 * Puts files into a guest's root and runs its setup commands there.
 *
 * All mounts for that are made in a mount namespace of their own, so nothing stays mounted however this ends.
 * @param folder of this guest alone; the root is mounted on its `root`
 * @param mountRoot shell command that mounts the guest's root on `$1/root`
 * @throws Error with what the setup said
 */
export async function putContent(folder: string, mountRoot: string, content: GuestContent): Promise<void> {
  const stage = path.join(folder, 'stage');
  await mkdir(stage, { recursive: true });
  await mkdir(path.join(folder, 'root'), { recursive: true });
  const steps = ['set -eu', mountRoot, 'mount -t proc proc "$1/root/proc"'];
  for (const [index, [target, source]] of Object.entries(content.files ?? {}).entries()) {
    const staged = path.join(stage, String(index));
    if (typeof source === 'string') await writeFile(staged, source);
    else await cp(source.copyOf, staged);
    steps.push(`install -D --mode=644 "$1/stage/${index}" "$1/root/${target}"`);
  }
  await writeFile(path.join(stage, 'setup'), content.setup ?? '');
  steps.push(
    'cp "$1/stage/setup" "$1/root/run/setup"',
    'chroot "$1/root" sh -eux /run/setup',
    'umount "$1/root/proc"',
    'umount "$1/root"',
  );
  const result = await execa(
    'unshare',
    ['--mount', '--propagation', 'private', 'sh', '-c', steps.join('\n'), 'sh', folder],
    {
      reject: false,
      all: true,
      stdin: 'ignore',
      timeout: 120_000,
      env: { LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
    },
  );
  if (result.failed) throw new Error(`Expected the guest's setup to succeed, got:\n${String(result.all)}`);
}
