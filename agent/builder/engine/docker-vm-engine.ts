import { once } from 'node:events';
import { createWriteStream, existsSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pipeline } from 'node:stream/promises';
import type { RunningProgram } from '../../system/child-process.ts';
import { after } from '../../system/clock.ts';
import { messageOf, PreloaderError } from '../../system/errors.ts';
import { hasKvm } from '../../system/kvm.ts';
import { publishImage, type DockerEngineOptions } from './docker-engine.ts';
import { makeWorkplace, type Workplace } from '../workplace.ts';
import type { Progress } from '../../text/progress.ts';
import { requireTool, startTool } from '../../system/run-tool.ts';
import { SAYS, vmScript } from './vm-script.ts';

/** The files are sparse: only what is written takes up room. */
const DRIVE_BYTES = 64 * 2 ** 30;
const BLOCK_BYTES = 4096;
/** Loading takes 13 s for a GB, and ten times that when emulated. */
const TIMEOUT_MS = 60 * 60_000;
/** Lines of the guest's console that are kept for an error message. */
const REMEMBERED_LINES = 5;
/** Kernel, initial ramdisk and root filesystem of the guest. */
export const GUEST_FILES = ['kernel', 'initrd', 'root.ext4'] as const;

/**
 * The same as buildWithDocker, but inside a virtual machine, so that it needs no root. Archives go in as disks, and the
 * new disk comes out as one.
 * @param guest a folder with `kernel`, `initrd` and `root.ext4`, a Debian root with docker.io
 * @throws PreloaderError
 */
export async function buildWithDockerVm(
  options: DockerEngineOptions,
  guest: string,
  progress: Progress,
): Promise<{ readonly label: string; readonly sizeBytes: number }> {
  for (const name of GUEST_FILES) {
    if (!existsSync(join(guest, name)))
      throw new PreloaderError(
        'BUILD_FAILED',
        `--vm ${guest}: expected the files ${GUEST_FILES.join(', ')}, found no ${name}; agent/builder/README.md says how to make them`,
      );
  }
  if (options.format === 'qcow2') requireTool('qemu-img');
  let qemu: RunningProgram | undefined;
  const workplace = makeWorkplace(options.output, { beforeRemoval: () => qemu?.kill('SIGKILL') });
  try {
    const files = options.archives.map(({ path }, index) => asFile(path, workplace, index, progress));
    const archives = await Promise.all(files);
    for (const name of ['scratch', 'disk']) {
      writeFileSync(workplace.path(name), '');
      truncateSync(workplace.path(name), DRIVE_BYTES);
    }
    // The drives in order: the root, this script, the scratch disk, the output, and then the archives.
    const device = (index: number): string => `/dev/vd${String.fromCharCode('a'.charCodeAt(0) + index)}`;
    const script = vmScript({
      scratch: device(2),
      output: device(3),
      label: options.label,
      sizeBytes: options.sizeBytes,
      archives: archives.map((file, index) => ({ device: device(4 + index), sizeBytes: statSync(file).size })),
    });
    writeFileSync(workplace.path('script'), script.padEnd(Math.ceil((script.length + 1) / 512) * 512, '\n'));
    qemu = startTool('qemu-system-x86_64', qemuArguments(resolve(guest), workplace, archives), 'pipe');
    const { blocks, label } = await listen(qemu, progress);
    const sizeBytes = blocks * BLOCK_BYTES;
    truncateSync(workplace.path('disk'), sizeBytes);
    await publishImage(workplace, options, progress);
    return { label, sizeBytes };
  } finally {
    progress.end();
    workplace.remove();
  }
}

/** Gives an archive as a file that can be a drive. */
async function asFile(name: string, workplace: Workplace, index: number, progress: Progress): Promise<string> {
  if (name === '-') {
    progress.step('reading standard input');
    const file = workplace.path(`archive-${index}`);
    await pipeline(process.stdin, createWriteStream(file));
    return file;
  }
  const stats = statSync(name, { throwIfNoEntry: false });
  if (stats?.isFile() !== true)
    throw new PreloaderError(
      'BUILD_FAILED',
      `${name}: expected an archive file with --engine docker-vm, found ${stats === undefined ? 'none' : 'something else'}`,
    );
  return name;
}

function qemuArguments(guest: string, workplace: Workplace, archives: readonly string[]): string[] {
  // A comma in a file's name is doubled (qemu(1), -drive).
  const drive = (file: string, ...more: readonly string[]): string[] => [
    '-drive',
    [`file=${file.replaceAll(',', ',,')}`, 'format=raw', 'if=virtio', ...more].join(','),
  ];
  return [
    '-accel',
    hasKvm() ? 'kvm' : 'tcg,thread=multi',
    '-M',
    'q35',
    '-cpu',
    'max',
    '-smp',
    '2',
    '-m',
    '2048',
    '-nodefaults',
    '-no-user-config',
    '-no-reboot',
    '-display',
    'none',
    '-serial',
    'stdio',
    '-kernel',
    join(guest, 'kernel'),
    '-initrd',
    join(guest, 'initrd'),
    '-append',
    `root=/dev/vda rw console=ttyS0 quiet panic=-1 mitigations=off init=/bin/sh -- /dev/vdb`,
    ...drive(join(guest, 'root.ext4'), 'snapshot=on'),
    ...drive(workplace.path('script'), 'readonly=on'),
    // Whatever a power cut would lose here is lost with the workplace anyway.
    ...drive(workplace.path('scratch'), 'cache=unsafe', 'discard=unmap'),
    ...drive(workplace.path('disk'), 'cache=unsafe'),
    ...archives.flatMap((file) => drive(resolve(file), 'readonly=on')),
  ];
}

async function listen(
  qemu: RunningProgram,
  progress: Progress,
): Promise<{ readonly blocks: number; readonly label: string }> {
  progress.step('booting the virtual machine');
  const remembered: string[] = [];
  let done: { readonly blocks: number; readonly label: string } | undefined;
  let failed: string | undefined;
  const hear = (line: string): void => {
    const at = line.indexOf(SAYS);
    const [word, ...rest] =
      at === -1
        ? ['']
        : line
            .slice(at + SAYS.length)
            .trim()
            .split(' ');
    if (word === 'step') progress.step(`in the virtual machine: ${rest.join(' ')}`);
    else if (word === 'failed') failed = rest.join(' ');
    else if (word === 'done') done = { blocks: Number(rest[0]), label: rest[1] ?? '' };
    else if (line.trim() !== '') remembered.push(line.trim());
    if (remembered.length > REMEMBERED_LINES) remembered.shift();
  };
  for (const stream of [qemu.stdout, qemu.stderr]) if (stream !== null) createInterface(stream).on('line', hear);
  const cancel = after(TIMEOUT_MS, () => {
    failed = `no end within ${TIMEOUT_MS / 60_000} min`;
    qemu.kill('SIGKILL');
  });
  try {
    await once(qemu, 'close');
  } finally {
    cancel();
  }
  if (done !== undefined && done.blocks > 0) return done;
  throw new PreloaderError(
    'BUILD_FAILED',
    `the virtual machine: expected a disk, found none: ${failed ?? 'it ended early'}; its last words: ${messageOf(remembered.join(' | '))}`,
  );
}
