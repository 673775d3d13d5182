import { readTextIfThere } from './read-files.ts';

/**
 * Identifies this boot: the kernel's boot_id, and the start time of PID 1 (proc_pid_stat(5), field 22), because a
 * restarted container still has the boot_id of its machine. A part that /proc does not show is empty.
 */
export function bootId(): string {
  const id = textOf('/proc/sys/kernel/random/boot_id').trim();
  const stat = textOf('/proc/1/stat');
  // The name, which is in brackets, may itself contain spaces and brackets.
  const start =
    stat
      .slice(stat.lastIndexOf(')') + 1)
      .trim()
      .split(' ')[22 - 3] ?? '';
  return `${id} ${start}`;
}

/** With hidepid=, only root can see PID 1. */
function textOf(path: string): string {
  try {
    return readTextIfThere(path) ?? '';
  } catch {
    return '';
  }
}
