import { closeSync, existsSync, mkdirSync, openSync, rmdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { PreloaderError } from '../system/errors.ts';
import { ensureFolder } from '../system/write-files.ts';
import { enterPrivateMountNamespace, mountAgain, mountTmpfs, readMounts, unmount } from '../system/mount.ts';

/** open(2): holds a place in the tree without reading from it. Reading would fail if the device is gone. */
const O_PATH = 0x20_0000;

/**
 * Lets `action` mount disks below the mount root where nobody else sees them. What is already mounted there is in its
 * place. Folders for other disks are made on a tmpfs, so that none is left behind, not even after a signal. Only this
 * thread sees those mounts. Asynchronous file calls do not, because other threads make them.
 * @throws PreloaderError MOUNT_FAILED, and system errors
 */
export async function inPrivateMounts<Result>(mountRoot: string, action: () => Promise<Result>): Promise<Result> {
  if (process.geteuid?.() !== 0)
    throw new PreloaderError('MOUNT_FAILED', 'only root may mount disks to look at them; run it with sudo');
  enterPrivateMountNamespace();
  const made = [dirname(mountRoot), mountRoot].filter((path) => !existsSync(path));
  ensureFolder(mountRoot, 0o700);
  hideMounts(mountRoot);
  const leave = (): void => {
    unmount(mountRoot, true);
    for (const path of made.toReversed()) rmdirSync(path);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    leave();
    process.off(signal, onSignal);
    process.kill(process.pid, signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, onSignal);
  try {
    return await action();
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
    leave();
  }
}

/**
 * Mounts a tmpfs over the mount root, and moves the mounts from below onto it. Covered ones would stay in mountinfo.
 */
function hideMounts(mountRoot: string): void {
  const present = readMounts().filter((mount) => dirname(mount.path) === mountRoot);
  const held = [...new Set(present.map(({ path }) => path))].map((path) => ({ path, fd: openSync(path, O_PATH) }));
  mountTmpfs(mountRoot);
  for (const { path, fd } of held) {
    mkdirSync(path, { mode: 0o755 });
    mountAgain(`/proc/self/fd/${fd}`, path);
    unmount(`/proc/self/fd/${fd}`, true);
    closeSync(fd);
  }
}
