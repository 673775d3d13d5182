import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { execa } from 'execa';
import { cleanUpAll, cleanUpLater } from '../support/cleanup.ts';
import { killUsersOf } from '../support/processes.ts';
import { makeTempFolder, unmountBelow } from '../support/temp-tree.ts';

let interrupted = false;

/** Ends the work where Ctrl-C was pressed: called before each step, so that none begins while others are undone. */
export function throwIfInterrupted(): void {
  if (interrupted) throw new Error('interrupted');
}

/** What the work may take to notice an interruption: it may wait for another process that holds a lock. */
const SETTLE_MS = 5_000;
const SIGNAL_MS = 200;

/**
 * Does `work` in a private folder, and leaves nothing behind: no process, mount, loop device or file, whether it
 * succeeds, fails, or is ended by Ctrl-C, SIGTERM or SIGHUP. After a signal this never returns: the process ends by it.
 *
 * Everything temporary is put below that folder, TMPDIR included, so that what was made while the rest was already
 * being undone is found there in the end.
 * @throws what `work` throws, after the cleaning
 */
export async function leavingNothing(work: (folder: string) => Promise<void>): Promise<void> {
  const settled = Promise.withResolvers<void>();
  const folder = makeTempFolder('dpl-demo');
  // Registered first, so undone last. After a signal that is twice, as the folder is there still: what the work has
  // registered until it noticed is undone in between, by its own means, and only then what nobody has registered.
  let waited = false;
  cleanUpLater(
    folder,
    async () => {
      await Promise.resolve();
      if (!interrupted || waited) return sweep(folder);
      waited = true;
      await Promise.race([settled.promise, setTimeout(SETTLE_MS, undefined, { ref: false })]);
    },
    () => existsSync(folder),
  );
  // After cleanUpLater, whose own handlers replace those that are there. They clean up, and end the process by the
  // signal.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  process.env['TMPDIR'] = folder;
  try {
    await work(folder);
  } catch (error) {
    // Ctrl-C goes to the whole process group: that a child has ended by it may be seen before our own signal is.
    if (!interrupted) await setTimeout(SIGNAL_MS);
    if (!interrupted) throw error;
  } finally {
    settled.resolve();
    if (interrupted) await new Promise<never>(() => undefined);
    await cleanUpAll();
  }
}

function interrupt(): void {
  if (!interrupted) process.stderr.write('\ninterrupted, cleaning up\n');
  interrupted = true;
}

/** Removes the folder with all that still stands on it. */
async function sweep(folder: string): Promise<void> {
  await killUsersOf(folder);
  await unmountBelow(folder);
  const { stdout: loops } = await execa('losetup', ['--list', '--noheadings', '--raw', '--output', 'NAME,BACK-FILE']);
  for (const line of loops.split('\n')) {
    const [device = '', file = ''] = line.split(' ');
    if (file.startsWith(`${folder}/`)) await execa('losetup', ['--detach', device], { reject: false });
  }
  await removeShimSockets(folder);
  await execa(
    'find',
    ['/sys/fs/cgroup', '-depth', '-type', 'd', '-path', `*/${path.basename(folder)}*`, '-exec', 'rmdir', '{}', '+'],
    { reject: false },
  );
  await execa('rm', ['-rf', '--one-file-system', folder]);
}

/**
 * Removes what the shims of killed containers leave outside of dockerd's folders: containerd puts their sockets into
 * one folder of the system, and their addresses into a file of each container (containerd, runtime/v2/shim,
 * SocketAddress).
 */
async function removeShimSockets(folder: string): Promise<void> {
  const { stdout: addresses } = await execa('find', [
    folder,
    '-path',
    '*/io.containerd.runtime.v2.task/*/address',
    '-type',
    'f',
    '-exec',
    'sed',
    '-s',
    '-n',
    '1p',
    '{}',
    '+',
  ]);
  for (const address of addresses.split('\n')) {
    if (address.startsWith('unix:///run/containerd/s/')) await rm(address.slice('unix://'.length), { force: true });
  }
}
