import { namesIn, readTextIfThere } from './read-files.ts';

/** Whether a process runs: neither gone nor a zombie that waits for its parent to read its exit status. */
export function isAlive(pid: number): boolean {
  return isRunning(statOf(pid));
}

/** Whether a process of a group runs. */
export function isGroupAlive(group: number): boolean {
  const isOne = (pid: number): boolean => {
    const stat = statOf(pid);
    return stat?.group === group && isRunning(stat);
  };
  return namesIn('/proc').some((name) => /^\d+$/.test(name) && isOne(Number(name)));
}

/** The words of a process's command line; none where it is gone. */
export function commandLine(pid: number): string[] {
  return read(pid, 'cmdline').split('\0');
}

/**
 * How many bytes a process of ours has read and written since it began, files, pipes and connections alike
 * (proc_pid_io(5), rchar and wchar); undefined where it is gone, or where the kernel does not count them.
 */
export function bytesMoved(pid: number): { readonly read: number; readonly written: number } | undefined {
  const [, readBytes, written] = /^rchar: (\d+)\nwchar: (\d+)\n/.exec(read(pid, 'io')) ?? [];
  return written === undefined ? undefined : { read: Number(readBytes), written: Number(written) };
}

/** Sends a signal to a process, or with a negative number to all of a group. @returns whether one was there */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

interface Stat {
  readonly state: string;
  readonly group: number;
}

const isRunning = (stat: Stat | undefined): boolean => stat !== undefined && stat.state !== 'Z' && stat.state !== 'X';

/** Of `1234 (name) S PPID GROUP …` (proc_pid_stat(5)); the name may have anything in it. */
function statOf(pid: number): Stat | undefined {
  const [, state = '', group = ''] = /^\d+ \(.*\) (\w) \d+ (\d+) /s.exec(read(pid, 'stat')) ?? [];
  return state === '' ? undefined : { state, group: Number(group) };
}

/** A process that ends while its file is read has none any more (ESRCH). */
function read(pid: number, name: string): string {
  try {
    return readTextIfThere(`/proc/${pid}/${name}`) ?? '';
  } catch {
    return '';
  }
}
