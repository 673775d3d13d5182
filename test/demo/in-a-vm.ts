import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type Guest, unitProperties, until } from '../support/guest.ts';
import { preloadedGuest } from '../support/guest-package.ts';
import { guestRoot } from '../support/guest-root.ts';
import { hasKvm } from '../../agent/system/kvm.ts';
import { makeVirtualMachine, type VirtualDisk } from '../support/qemu.ts';
import type { AgentTimeline } from './agent-daemon.ts';
import { makeDisk } from './disks.ts';
import { unpackDocker } from './docker.ts';
import { type DemoImage, demoImages, expectImages } from './images.ts';
import { printComparison, printTimeline } from './report.ts';
import { announce, heading, output, run, say, shellLine, working } from './transcript.ts';

const SUITE = 'trixie';
/** A boot takes seconds with KVM, and half a minute where the processor is emulated. */
const BOOT_TIMEOUT_SEC = 300;
const LOAD_TIMEOUT_SEC = 600;

/**
 * The demo in a virtual machine, with the package installed and the disks as qcow2.
 * @param folder where everything is put
 */
export async function demoInVirtualMachine(folder: string): Promise<void> {
  heading('Two images with a common base layer');
  await unpackDocker();
  const images = await working('making the images (once)', demoImages);
  await run(['ls', '-lh', ...images.map(({ archive }) => archive)]);

  heading('Two qcow2 disks, each with one of them');
  const node = await makeQcow2(folder, images, 'node');
  const python = await makeQcow2(folder, images, 'python');
  say('And one with the two archives, for `docker load` later:');
  const archives = await makeArchiveDisk(folder, images);

  heading(`A virtual machine with Debian ${SUITE}, Docker and docker-preloader.deb`);
  say(
    hasKvm()
      ? 'With KVM.'
      : 'Without KVM: the processor is emulated, and everything in it takes some ten times longer.',
  );
  await working('making the root filesystem (once, minutes)', () => guestRoot(SUITE));
  const content = preloadedGuest();
  say('In its root filesystem, before it boots for the first time:');
  for (const line of (content.setup ?? '').trim().split('\n')) announce(line, 'guest#');
  const vm = await working('installing', () => makeVirtualMachine({ suite: SUITE, ...content }));
  const guest = printingGuest(vm);
  const boot = async (disks: readonly VirtualDisk[]): Promise<void> => {
    await working('booting', () => vm.boot(disks));
    announce(qemuCommand(folder));
    await working('booting', () => until(vm, 'systemctl is-active docker', BOOT_TIMEOUT_SEC));
  };
  await boot([node, python, archives]);

  heading('dockerd has the images of both disks');
  expectImages(await guest('docker images'), ['demo/node:24', 'demo/python:3.11']);
  for (const { tag, command } of images)
    await guest(shellLine(['docker', 'run', '--rm', '--network', 'none', tag, ...command]));
  await guest('docker-preloader status');
  await guest(
    'journalctl --unit=docker-preloader --unit=docker --output=short-monotonic --no-pager --no-hostname | grep -e preloader -e Start',
  );
  // The status is by now that of the drop-in's `apply`, which ran after it; this is what /v1/timeline serves.
  const timeline = JSON.parse(await guest('cat /run/docker-preloader/boot.json', { quiet: true })) as AgentTimeline;
  const preloadedBytes = bytes(await guest('du --summarize --block-size=1 /var/lib/docker'));
  const readyMs = await readyMilliseconds(vm);

  heading('For comparison: docker load of the same images into an empty Docker beside it');
  await guest('mount -o ro /dev/disk/by-label/archives /mnt');
  await guest('systemctl stop docker.socket docker');
  await guest(
    'systemd-run --unit=load dockerd --data-root /var/lib/load --exec-root /run/load --pidfile /run/load.pid -H unix:///run/load.sock',
  );
  await working('dockerd starts', () => until(vm, 'docker -H unix:///run/load.sock info', BOOT_TIMEOUT_SEC));
  const start = performance.now();
  for (const { name } of images)
    await guest(`docker -H unix:///run/load.sock load --input /mnt/${name}.tar`, { timeoutSec: LOAD_TIMEOUT_SEC });
  const loadMs = performance.now() - start;
  const loadedBytes = bytes(await guest('du --summarize --block-size=1 /var/lib/load'));
  await guest('systemctl stop load; umount /mnt; systemctl start docker');

  heading('A tag of the user survives a reboot, and the image of a detached disk goes');
  await guest('docker tag demo/node:24 mine/node:today');
  announce('systemctl poweroff', 'guest#');
  await working('shutting down', () => vm.poweroff());
  await boot([node]);
  expectImages(await guest('docker images'), ['demo/node:24', 'mine/node:today']);
  await guest('docker run --rm --network none mine/node:today node --print \'"still here"\'');
  announce('systemctl poweroff', 'guest#');
  await working('shutting down', () => vm.poweroff());

  heading('The result');
  say('The agent from its first phase to READY=1 (GET /v1/timeline, first boot):');
  printTimeline(timeline);
  say('');
  printComparison({ readyMs, loadMs, preloadedBytes, loadedBytes });
}

/** Runs shell commands in the guest, printing them and what they say; their failure ends the demo. */
function printingGuest(vm: Guest) {
  return async (command: string, { quiet = false, timeoutSec = 120 } = {}): Promise<string> => {
    announce(command, 'guest#');
    const { code, stdout, stderr } = await working(command.split(' ')[0] ?? '', () => vm.run(command, timeoutSec));
    if (!quiet || code !== 0) output(`${stdout}${stderr}`);
    if (code !== 0)
      throw new Error(
        `\`${command}\` failed in the virtual machine: ${`${stdout}${stderr}`.trimEnd().split('\n').at(-1) ?? ''}`,
      );
    return stdout.trimEnd();
  };
}

async function makeQcow2(folder: string, images: readonly DemoImage[], name: DemoImage['name']): Promise<VirtualDisk> {
  const image = images.find((candidate) => candidate.name === name);
  if (image === undefined) throw new Error(`expected an image ${name}, found none`);
  return { id: `dpl-${name}`, file: await makeDisk(folder, image, `dpl-${name}`, 'qcow2') };
}

async function makeArchiveDisk(folder: string, images: readonly DemoImage[]): Promise<VirtualDisk> {
  const content = path.join(folder, 'archives');
  const disk = path.join(folder, 'archives.ext4');
  await run(['mkdir', content]);
  await run(['cp', ...images.map(({ archive }) => archive), content]);
  const sizeMiB = Math.ceil(images.reduce((sum, { archiveBytes }) => sum + archiveBytes, 0) / 2 ** 20) + 32;
  await run([
    'mke2fs',
    '-q',
    '-t',
    'ext4',
    '-m',
    '0',
    '-O',
    '^has_journal',
    '-L',
    'archives',
    '-d',
    content,
    disk,
    `${sizeMiB}M`,
  ]);
  await run(['rm', '-r', content]);
  return toQcow2(disk, 'archives');
}

async function toQcow2(raw: string, id: string): Promise<VirtualDisk> {
  const file = raw.replace(/\.ext4$/, '.qcow2');
  await run(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, file]);
  await run(['rm', raw]);
  return { id, file };
}

/** From the agent's start to its READY=1, by systemd's own clock. */
async function readyMilliseconds(vm: Guest): Promise<number> {
  const { ExecMainStartTimestampMonotonic: start, ActiveEnterTimestampMonotonic: active } = await unitProperties(
    vm,
    'docker-preloader.service',
    ['ExecMainStartTimestampMonotonic', 'ActiveEnterTimestampMonotonic'],
  );
  return (Number(active) - Number(start)) / 1000;
}

/** The command line of the QEMU that has its files in `folder`, as the kernel has it. */
function qemuCommand(folder: string): string {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const argv = commandLine(pid);
    if (argv[0]?.startsWith('qemu-system') === true && argv.some((word) => word.includes(`${folder}/`)))
      return `${shellLine(argv)} &`;
  }
  throw new Error('expected a running QEMU, found none');
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}

function bytes(du: string): number {
  return Number.parseInt(du, 10);
}
