import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { cleanUpLater } from './cleanup.ts';
import { type DebianSuite, ensureDebianPackages } from './debian-packages.ts';
import { type Finished, type Guest, type GuestContent, ok, tail } from './guest.ts';
import { putContent } from './guest-content.ts';
import { guestRoot } from './guest-root.ts';
import { tempTree } from './temp-tree.ts';

export interface ContainerOptions extends GuestContent {
  readonly suite: DebianSuite;
  /** Block devices of this machine that have a node in the guest from its boot on, for example /dev/loop3. */
  readonly devices?: readonly string[];
}

/**
 * A system of its own in systemd-nspawn: real systemd and dockerd, no udev, no network. /sys is this machine's, so the
 * guest sees all block devices there, but only those that were given to it have nodes in its /dev.
 */
export interface Container extends Guest {
  /** Gives the guest a further block device, or takes one away; only the node in /dev comes and goes. */
  plug(device: string): Promise<void>;
  unplug(device: string): Promise<void>;
  /** Shuts down in order and waits for the end. */
  poweroff(): Promise<void>;
  /** Ends it without any order, as a power cut does. */
  powerCut(): Promise<void>;
  /** Boots again after `poweroff` or `powerCut`, and waits until all of its boot's jobs are done. */
  boot(): Promise<void>;
  reboot(): Promise<void>;
}

interface Running {
  readonly process: ChildProcess;
  /** PID 1 of the guest, as this machine counts; 0 until it is there. */
  leader: number;
  readonly kill: () => Promise<void>;
}

/** systemd-nspawn's exit status with --keep-unit when the guest asked for a reboot. */
const rebootStatus = 133;

/** How long a boot or a shutdown may take: a second each here, ninety are systemd's own limit for a job. */
const bootTimeoutSec = 120;

/**
 * Boots a guest on a writable copy of a suite's root and waits until its boot's jobs are done.
 * It is gone after the run at the latest.
 * @throws Error with the console's last lines
 */
export async function bootContainer(options: ContainerOptions): Promise<Container> {
  await ensureDebianPackages(['systemd-container', 'util-linux'], { install: true });
  const root = await guestRoot(options.suite);
  const tree = await tempTree('dpl-guest');
  const folder = tree.path;
  for (const name of ['upper', 'work', 'root', 'docker', 'containerd']) await mkdir(path.join(folder, name));
  const mountRoot = `mount -t overlay overlay -o lowerdir=${root.tree},upperdir="$1/upper",workdir="$1/work" "$1/root"`;
  await putContent(folder, mountRoot, options);

  const devices = new Set(options.devices);
  let running: Running | undefined;
  const consoleFile = path.join(folder, 'console.log');
  const console = (): string => readFileSync(consoleFile, 'utf8');
  const state = (): Running => {
    if (running === undefined) throw new Error('Expected a running guest, it is switched off');
    return running;
  };

  const end = async (status: number): Promise<void> => {
    const { process, kill } = state();
    await deadline(
      bootTimeoutSec,
      () => process.exitCode !== null || process.signalCode !== null,
      () => `the guest to shut down, its console ends:\n${tail(console())}`,
    );
    if (process.exitCode !== status)
      throw new Error(
        `Expected systemd-nspawn to end with ${status}, got ${process.exitCode ?? process.signalCode}:\n${tail(console())}`,
      );
    await kill();
    running = undefined;
  };

  const container: Container = {
    console,
    run: async (command, timeoutSec = 60) => enter(state().leader, command, timeoutSec),
    plug: async (device) => {
      const { rdev } = statSync(device);
      await ok(container, `mknod ${device} b ${(rdev >> 8) & 0xfff} ${(rdev & 0xff) | ((rdev >> 12) & 0xfff00)}`);
      devices.add(device);
    },
    unplug: async (device) => {
      // One that was given at boot is a bind mount.
      await ok(container, `umount ${device} 2>/dev/null; rm ${device}`);
      devices.delete(device);
    },
    boot: async () => {
      if (running !== undefined) throw new Error('Expected a guest that is switched off, it is running');
      const nspawn = startNspawn(folder, mountRoot, [...devices], consoleFile);
      const ended = once(nspawn, 'exit');
      const started = { process: nspawn, leader: 0 };
      const kill = cleanUpLater(`guest ${folder}`, async () => {
        // PID 1 first: it is gone when all processes of the guest are, and then systemd-nspawn ends by itself.
        if (started.leader !== 0 && isInit(started.leader)) process.kill(started.leader, 'SIGKILL');
        else nspawn.kill('SIGKILL');
        await ended;
      });
      running = Object.assign(started, { kill });
      await waitForBoot(running, console);
    },
    reboot: async () => {
      await container.run('systemctl reboot');
      await end(rebootStatus);
      await container.boot();
    },
    poweroff: async () => {
      await container.run('systemctl poweroff');
      await end(0);
    },
    powerCut: async () => {
      await state().kill();
      running = undefined;
    },
  };
  await container.boot();
  return container;
}

function startNspawn(folder: string, mountRoot: string, devices: readonly string[], consoleFile: string): ChildProcess {
  const args = [
    '--boot',
    '--quiet',
    '--register=no',
    '--keep-unit',
    '--private-network',
    '--capability=all',
    '--link-journal=no',
    '--console=pipe',
    '--machine=guest',
    `--directory=${folder}/root`,
    // Neither store's overlay can stand on the guest's root, which is an overlay itself.
    `--bind=${folder}/docker:/var/lib/docker`,
    `--bind=${folder}/containerd:/var/lib/containerd`,
    ...devices.map((device) => `--bind=${device}`),
  ];
  const output = openSync(consoleFile, 'a');
  const child = spawn(
    'setpriv',
    [
      // Should the tests be killed outright, systemd-nspawn shuts the guest down; killed itself, it would leave it
      // running.
      '--pdeathsig',
      'TERM',
      'unshare',
      '--mount',
      '--propagation',
      'private',
      // systemd-nspawn keeps a folder for each guest's name in /run/systemd, and these guests share one name.
      'sh',
      '-ec',
      `${mountRoot}\nmkdir -p /run/systemd\nmount -t tmpfs tmpfs /run/systemd\nshift\nexec systemd-nspawn "$@"`,
      'sh',
      folder,
      ...args,
    ],
    {
      // Without seccomp, as containers in containers need it; with cgroup 2 also on a machine that still has cgroup 1.
      env: { ...process.env, SYSTEMD_SECCOMP: '0', SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
      stdio: ['ignore', output, output],
      detached: true,
    },
  );
  closeSync(output);
  return child;
}

/** Waits until the guest's PID 1 is there and done with the jobs of its boot. */
async function waitForBoot(running: Pick<Running, 'process' | 'leader'>, console: () => string): Promise<void> {
  const pid = running.process.pid;
  if (pid === undefined) throw new Error('Expected to start systemd-nspawn; is systemd-container installed?');
  let reached = '';
  await deadline(
    bootTimeoutSec,
    async () => {
      if (running.process.exitCode !== null)
        throw new Error(`systemd-nspawn ended with ${running.process.exitCode}, its console ends:\n${tail(console())}`);
      const leader = children(pid).find(isInit);
      if (leader === undefined) return false;
      running.leader = leader;
      const { stdout, stderr } = await enter(leader, 'systemctl is-system-running --wait', bootTimeoutSec);
      reached = `${stdout}${stderr}`.trim();
      return /^(running|degraded)$/.test(reached);
    },
    () => `the guest to boot (it says \`${reached}\`), its console ends:\n${tail(console())}`,
  );
}

/** PID 1 of a PID namespace below this one: NSpid in /proc/<pid>/status ends in 1. */
function isInit(pid: number): boolean {
  return /^NSpid:.*\t1$/m.test(read(`/proc/${pid}/status`)) && /^systemd$/m.test(read(`/proc/${pid}/comm`));
}

function children(pid: number): readonly number[] {
  return read(`/proc/${pid}/task/${pid}/children`)
    .split(' ')
    .filter((word) => word !== '')
    .map(Number);
}

/** What is in a file of /proc, empty where the process has just ended. */
function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

async function enter(leader: number, command: string, timeoutSec: number): Promise<Finished> {
  const result = await execa(
    'nsenter',
    [
      `--target=${leader}`,
      '--all',
      'env',
      '-i',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'HOME=/root',
      'LC_ALL=C.UTF-8',
      'sh',
      '-c',
      command,
    ],
    { reject: false, stdin: 'ignore', timeout: timeoutSec * 1000, stripFinalNewline: false },
  );
  if (result.timedOut)
    throw new Error(
      `Expected \`${command}\` to end within ${timeoutSec} s in the guest, it said: ${result.stdout}${result.stderr}`,
    );
  return { code: result.exitCode ?? 255, stdout: result.stdout, stderr: result.stderr };
}

/** Asks until `done` says true: neither nspawn nor the kernel has an event for what is waited for here. */
async function deadline(seconds: number, done: () => Promise<boolean> | boolean, what: () => string): Promise<void> {
  const end = performance.now() + seconds * 1000;
  while (!(await done())) {
    if (performance.now() > end) throw new Error(`Expected within ${seconds} s ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
