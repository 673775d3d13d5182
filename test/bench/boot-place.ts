import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { unmountBelow } from '../support/temp-tree.ts';
import { labelPrefix } from './boot-fixtures.ts';

/** When each phase of the agent began, as its status tells, in microseconds of CLOCK_MONOTONIC. */
export interface AgentTimings {
  readonly timings: readonly { readonly phase: string; readonly startUsec: number }[];
}

/** What stopwatch.c prints. */
export interface Timed {
  readonly startUsec: number;
  /** 0 where the program sends no READY. */
  readonly readyUsec: number;
  readonly endUsec: number;
  readonly exitStatus: number;
  readonly userUsec: number;
  readonly systemUsec: number;
  readonly residentKb: number;
  readonly anonymousKb: number;
  readonly privateDirtyKb: number;
  readonly bytesToReady: number;
}

export interface TimedOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** From a control group's cgroup.procs. */
  readonly group?: string | undefined;
  /** How long after READY the memory is looked at; 0: not at all. */
  readonly settleMs?: number;
  /** Whose reads are counted. */
  readonly devices?: readonly string[];
}

/** Mounts a copy of a filesystem, which is gone with its mount. */
export async function mountCopy(file: string, copy: string, at: string): Promise<void> {
  await execa('cp', ['--sparse=always', file, copy]);
  await execa('mount', ['-o', 'loop', copy, at]);
  rmSync(copy);
}

/** A machine in small: a data root on an ext4 of its own, a /run in memory, perhaps a system disk. */
export class Place {
  readonly #folder: string;
  readonly #stopwatch: string;
  readonly data: string;
  readonly run: string;
  readonly disks: string;
  readonly system: string;
  readonly config: string;
  /** The same, with the content of all disks pinned. */
  readonly pinnedConfig: string;
  /** The same, with the key that has signed all disks. */
  readonly signedConfig: string;

  constructor(folder: string, stopwatch: string) {
    this.#folder = folder;
    this.#stopwatch = stopwatch;
    this.data = path.join(folder, 'data/docker');
    this.run = path.join(folder, 'run');
    this.disks = path.join(folder, 'run/disks');
    this.system = path.join(folder, 'system');
    this.config = path.join(folder, 'config.json');
    this.pinnedConfig = path.join(folder, 'pinned.json');
    this.signedConfig = path.join(folder, 'signed.json');
    for (const dir of ['data', 'run', 'system']) mkdirSync(path.join(folder, dir), { recursive: true });
    writeFileSync(
      this.config,
      JSON.stringify({
        labels: [`${labelPrefix}*`],
        dataRoot: this.data,
        mountRoot: this.disks,
        statusSocket: path.join(this.run, 'status.sock'),
        dockerConfig: path.join(folder, 'daemon.json'),
      }),
    );
  }

  /** @param required label and manifest digest of each disk */
  pin(required: readonly string[]): void {
    this.#writeMore(this.pinnedConfig, { required });
  }

  /** @param key the line of its .pub file */
  trust(key: string): void {
    this.#writeMore(this.signedConfig, { trustedKeys: [key] });
  }

  #writeMore(file: string, more: object): void {
    writeFileSync(file, JSON.stringify({ ...(JSON.parse(readFileSync(this.config, 'utf8')) as object), ...more }));
  }

  /**
   * Gives it a copy of a data root's filesystem, and of a system disk where there is one. Without the former, its data
   * root is a new folder on the machine's own filesystem, where what syncs does not also wait for a loop device.
   */
  async boot(dataRoot: string | undefined, systemDevice?: string): Promise<void> {
    const parent = path.dirname(this.data);
    if (dataRoot === undefined) {
      await execa('rm', ['-rf', '--one-file-system', parent]);
      mkdirSync(parent);
      await execa('sync', ['--file-system', parent]);
    } else await mountCopy(dataRoot, path.join(this.#folder, 'data.ext4'), parent);
    if (systemDevice !== undefined) await execa('mount', ['-o', 'ro', systemDevice, this.system]);
    await this.clearRun();
  }

  /** A new boot of the same data root: nothing is mounted, /run is empty. */
  async clearRun(): Promise<void> {
    await unmountBelow(this.run);
    await execa('mount', ['-t', 'tmpfs', 'tmpfs', this.run]);
    mkdirSync(this.disks);
  }

  async shutDown(): Promise<void> {
    await unmountBelow(this.#folder);
  }

  /**
   * Runs a program under the stopwatch as systemd starts it: the agent's `run` with its socket, and each with nothing
   * in its environment but what is given and where programs are. What a shell has of Node's variables would slow some
   * runtimes down and others not.
   * @throws Error where it fails
   */
  async time(
    command: readonly string[],
    { env = {}, group, settleMs = 0, devices = [] }: TimedOptions = {},
  ): Promise<Timed> {
    const names = devices.map((device) => path.basename(device)).join(',') || '-';
    const { stdout, stderr } = await execa(
      this.#stopwatch,
      [
        path.join(this.#folder, 'notify'),
        command[1] === 'run' ? path.join(this.run, 'status.sock') : '-',
        group ?? '-',
        String(settleMs),
        names,
        ...command,
      ],
      { env: { PATH: process.env['PATH'], ...env }, extendEnv: false, stdin: 'ignore', cwd: this.#folder },
    );
    const timed = JSON.parse(stdout.slice(stdout.lastIndexOf('{'))) as Timed;
    // An agent's SIGTERM comes when it is READY, so that it may end by the signal.
    if (timed.exitStatus !== 0 && timed.readyUsec === 0)
      throw new Error(`${command.join(' ')}: expected exit status 0, found ${timed.exitStatus}: ${stderr}`);
    return timed;
  }

  /** What the agent that ran last has left of its timings. @throws Error where it did not do all of its work */
  agentTimings(): AgentTimings {
    const status = JSON.parse(readFileSync(path.join(this.run, 'status.json'), 'utf8')) as AgentTimings & {
      readonly state: string;
      readonly summary: string;
    };
    if (status.state !== 'ok') throw new Error(`the agent: expected ok, found ${status.summary}`);
    return { timings: status.timings };
  }
}
