import { readTextIfThere } from './read-files.ts';

/**
 * The service or scope that a process belongs to, by its control group (cgroups(7), /proc/PID/cgroup); empty if there
 * is none.
 */
export function unitOfProcess(pid: number | string): string {
  return /\/([^/\n]+\.(?:service|scope))\s*$/m.exec(readTextIfThere(`/proc/${pid}/cgroup`) ?? '')?.[1] ?? '';
}
