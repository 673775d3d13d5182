import { unitOfProcess } from '../system/cgroup.ts';
import { monotonicUsec } from '../system/clock.ts';
import { namesIn, readTextIfThere } from '../system/read-files.ts';

/** A process as /proc shows it. */
export interface Process {
  readonly pid: number;
  readonly argv: readonly string[];
  /** The unit that its control group belongs to, empty if there is none. */
  readonly unit: string;
  /** Microseconds of CLOCK_MONOTONIC, to the hundredth of a second. */
  readonly startUsec: number;
}

/** USER_HZ, the unit of time in /proc on every architecture that we know. */
const TICK_USEC = 10_000;

/**
 * The processes of this system by the name of their program (its first 15 characters). Those in containers belong to
 * other systems.
 */
export function processesNamed(...names: readonly string[]): Process[] {
  const bootOffsetUsec = bootTimeUsec() - monotonicUsec();
  return namesIn('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const read = (file: string): string => readTextIfThere(`/proc/${pid}/${file}`) ?? '';
        if (!names.includes(read('comm').trimEnd())) return [];
        // More than one number means that it is in a PID namespace below ours.
        if (/^NSpid:\t\d+\t/m.test(read('status'))) return [];
        const stat = read('stat');
        const ticks = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
        if (!Number.isFinite(ticks)) return [];
        return [
          {
            pid: Number(pid),
            argv: read('cmdline').split('\0'),
            unit: unitOfProcess(pid),
            startUsec: Math.max(0, Math.round(ticks * TICK_USEC - bootOffsetUsec)),
          },
        ];
      } catch {
        // It has ended while we looked.
        return [];
      }
    });
}

/**
 * CLOCK_BOOTTIME, in which the starts of processes are counted. It goes on while a machine sleeps, unlike
 * CLOCK_MONOTONIC.
 */
function bootTimeUsec(): number {
  return Number((readTextIfThere('/proc/uptime') ?? '0').split(' ')[0]) * 1_000_000;
}
