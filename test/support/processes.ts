import { existsSync, readdirSync, readFileSync } from 'node:fs';

/**
 * Kills the processes that name a path below `folder` on their command line, and their children, and waits until they
 * are gone. So the shims that outlive a killed dockerd are found, and the containers below them.
 */
export async function killUsersOf(folder: string): Promise<void> {
  const pids = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
  const users = pids.filter((pid) => pid !== process.pid && commandLine(pid).includes(`${folder}/`));
  const all = new Set(users.flatMap((pid) => [pid, ...descendants(pid)]));
  for (const pid of all) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
  // The kernel reports no end of a process that is not one's child, so this one asks, for at most five seconds.
  for (let tries = 0; tries < 500 && [...all].some(isAlive); tries++)
    await new Promise((resolve) => setTimeout(resolve, 10));
}

/** A dead process that nobody has waited for yet holds nothing any more: it counts as gone. */
function isAlive(pid: number): boolean {
  return existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(read(`/proc/${pid}/status`));
}

function descendants(pid: number): number[] {
  const children = read(`/proc/${pid}/task/${pid}/children`)
    .split(' ')
    .filter((word) => word !== '')
    .map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function commandLine(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
}

/** What is in a file of /proc, empty where the process has just ended. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
