import { readTextIfThere } from './files.ts';

/**
 * What tells this boot from all others: the kernel's boot_id, and when PID 1 began (proc_pid_stat(5), field 22), since a
 * container that is started again has the boot_id of its machine. Empty parts where /proc does not tell.
 */
export function bootId(): string {
  const id = textOf('/proc/sys/kernel/random/boot_id').trim();
  const stat = textOf('/proc/1/stat');
  // The name, in brackets, may hold spaces and brackets.
  const start =
    stat
      .slice(stat.lastIndexOf(')') + 1)
      .trim()
      .split(' ')[22 - 3] ?? '';
  return `${id} ${start}`;
}

/** With hidepid=, only root is shown PID 1. */
function textOf(path: string): string {
  try {
    return readTextIfThere(path) ?? '';
  } catch {
    return '';
  }
}
