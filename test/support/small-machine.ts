import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync } from 'node:fs';
import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { privateApt } from '../../agent/packaging/small/debian-apt.ts';
import { hasKvm } from '../../agent/system/kvm.ts';
import { cached } from './cache.ts';
import { cleanUpLater } from './cleanup.ts';
import { ensureDebianPackages, fetchDebianPackage, type DebianSuite } from './debian-packages.ts';
import { tempTree } from './temp-tree.ts';

/** A folder of this machine that the virtual one sees under a tag. */
export interface Share {
  readonly tag: string;
  readonly folder: string;
  /** With what it is shared: QEMU's own 9p and its model of security, or virtiofsd and its options. */
  readonly by: { readonly '9p': 'passthrough' | 'mapped-xattr' | 'none' } | { readonly virtiofs: readonly string[] };
}

/** What a machine is like, by Debian's name of its architecture. */
const machines = {
  amd64: {
    qemu: 'qemu-system-x86_64',
    package: 'qemu-system-x86',
    machine: 'q35',
    processor: 'max',
    console: 'ttyS0',
    hasOurProcessor: true,
  },
  arm64: {
    qemu: 'qemu-system-aarch64',
    package: 'qemu-system-arm',
    machine: 'virt',
    // Signatures of pointers as ARM has specified them would take most of the time.
    processor: 'max,pauth-impdef=on',
    console: 'ttyAMA0',
    hasOurProcessor: false,
  },
} as const;

export interface SmallMachineOptions {
  readonly suite: DebianSuite;
  readonly architecture?: keyof typeof machines;
  /** Which kernel of Debian's, by what its package is called behind `linux-image-`: the architecture, by default. */
  readonly kernel?: string;
  /** Files of this machine that are its disks, in a raw format, and are not written to. */
  readonly disks?: readonly string[];
  /** Files of this machine by their place in the virtual one. */
  readonly files: Readonly<Record<string, string>>;
  readonly shares: readonly Share[];
  /** Run by busybox's shell, as root, where /proc, /sys, /dev, /run and an empty /var are mounted. */
  readonly script: string;
}

/** The modules that are loaded, with those that they need. */
const MODULES = ['virtio_pci', 'virtiofs', '9pnet_virtio', '9p', 'overlay'];
/** ext4 and erofs ask for the checksum by its name. */
const DISK_MODULES = ['crc32c_generic', 'virtio_blk', 'ext4', 'erofs'];
const MEMORY_MB = 1024;
const TIMEOUT_SEC = 300;
const BEGIN = '--- begin';
const END = '--- end';

/**
 * Runs a script in a virtual machine that has a kernel of Debian, with all filesystems, and else only what it is given:
 * it is up within seconds where a whole Debian takes a minute.
 * @returns what the script has printed
 * @throws Error with the end of the console where it did not come to its end
 */
export async function runInSmallMachine(options: SmallMachineOptions): Promise<string> {
  const { suite, architecture = 'amd64', files, shares, disks = [], script } = options;
  const kind = machines[architecture];
  await ensureDebianPackages([kind.package, 'cpio'], { install: true });
  const { path: folder } = await tempTree('dpl-small-vm');
  const modules = [...MODULES, ...(disks.length > 0 ? DISK_MODULES : [])];
  const kernel = await wholeKernel(suite, architecture, options.kernel ?? architecture, modules);
  await makeInitrd(folder, kernel, architecture, files, script);
  const console = path.join(folder, 'console');
  const args = [
    kind.hasOurProcessor && hasKvm()
      ? ['-accel', 'kvm', '-cpu', 'host']
      : ['-accel', 'tcg,thread=multi', '-cpu', kind.processor],
    // virtiofsd is given all of the machine's memory.
    ['-M', `${kind.machine},memory-backend=memory`, '-m', String(MEMORY_MB)],
    ['-object', `memory-backend-memfd,id=memory,size=${MEMORY_MB}M,share=on`],
    ['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-serial', `file:${console}`],
    ['-kernel', kernel.image, '-initrd', path.join(folder, 'initrd')],
    ['-append', `console=${kind.console} quiet panic=-1 mitigations=off`],
    ...disks.map((file) => ['-drive', `file=${file},if=virtio,format=raw,readonly=on`]),
    ...(await Promise.all(shares.map(async (share, index) => shareArgs(share, path.join(folder, `share-${index}`))))),
  ].flat();
  const output = openSync(`${console}.qemu`, 'a');
  const qemu = spawn('setpriv', ['--pdeathsig', 'KILL', kind.qemu, ...args], {
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  const exited = once(qemu, 'exit');
  const kill = cleanUpLater(`small virtual machine ${folder}`, async () => {
    qemu.kill('SIGKILL');
    await exited;
  });
  const timer = setTimeout(() => qemu.kill('SIGKILL'), TIMEOUT_SEC * 1000);
  await exited;
  clearTimeout(timer);
  await kill();
  const printed = existsSync(console) ? (await readFile(console, 'utf8')).replaceAll('\r', '') : '';
  const found = new RegExp(`^${BEGIN}\n(.*)^${END}$`, 'ms').exec(printed);
  if (found === null)
    throw new Error(
      `Expected a machine that comes to its end within ${TIMEOUT_SEC} s; it said: ${await readFile(`${console}.qemu`, 'utf8')}${printed.slice(-4000)}`,
    );
  return found[1] ?? '';
}

interface Kernel {
  readonly image: string;
  /** Its modules, in the order in which they can be loaded. */
  readonly modules: readonly string[];
}

/** Debian's kernel with all modules: that for clouds has no 9p. */
async function wholeKernel(
  suite: DebianSuite,
  architecture: string,
  flavour: string,
  wanted: readonly string[],
): Promise<Kernel> {
  const folder = await cached(`kernel-${suite}-${flavour === 'amd64' ? '' : `${flavour}-`}1`, async (tree) => {
    const options = await privateApt(suite, `${tree}.apt`, 'deb', architecture);
    await execa('apt-get', [...options, 'update']);
    const { stdout } = await execa('apt-cache', [...options, 'depends', `linux-image-${flavour}`]);
    const name = /Depends: (linux-image-\S+)/.exec(stdout)?.[1] ?? '';
    await cp(await fetchDebianPackage(suite, [name], architecture), tree, { recursive: true });
    await execa('rm', ['-rf', `${tree}.apt`]);
  });
  const below = existsSync(path.join(folder, 'usr/lib/modules')) ? 'usr/lib/modules' : 'lib/modules';
  const [version = ''] = await readdir(path.join(folder, below));
  const root = path.join(folder, below, version);
  const files = new Map<string, string>();
  for (const file of (await execa('find', [root, '-name', '*.ko*'])).stdout.split('\n')) files.set(nameOf(file), file);
  const order: string[] = [];
  const add = async (name: string): Promise<void> => {
    const file = files.get(name);
    // What is built in has no file.
    if (file === undefined || order.includes(file)) return;
    // As modinfo(8) reads it, of the section `.modinfo`.
    const depends = /\0depends=([^\0]*)\0/.exec((await unpacked(file)).toString('latin1'))?.[1] ?? '';
    for (const needed of depends.split(',')) await add(needed);
    if (!order.includes(file)) order.push(file);
  };
  for (const name of wanted) await add(name);
  return { image: path.join(folder, 'boot', `vmlinuz-${version}`), modules: order };
}

const nameOf = (file: string): string =>
  path
    .basename(file)
    .replace(/\.ko.*$/, '')
    .replaceAll('-', '_');

async function unpacked(file: string): Promise<Buffer> {
  return file.endsWith('.xz')
    ? Buffer.from((await execa('xz', ['-dc', file], { encoding: 'buffer', maxBuffer: 2 ** 30 })).stdout)
    : readFile(file);
}

async function makeInitrd(
  folder: string,
  { modules }: Kernel,
  architecture: string,
  files: SmallMachineOptions['files'],
  script: string,
): Promise<void> {
  const root = path.join(folder, 'root');
  for (const name of ['bin', 'proc', 'sys', 'dev', 'run', 'var', 'modules', 'tmp'])
    await mkdir(path.join(root, name), { recursive: true });
  await cp(
    path.join(await fetchDebianPackage('bookworm', ['busybox-static'], architecture), 'bin/busybox'),
    path.join(root, 'bin/busybox'),
  );
  for (const [place, file] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(root, place)), { recursive: true });
    await cp(file, path.join(root, place));
  }
  const names: string[] = [];
  for (const file of modules) {
    const place = path.join(root, 'modules', `${nameOf(file)}.ko`);
    await writeFile(place, await unpacked(file));
    names.push(`${nameOf(file)}.ko`);
  }
  await writeFile(path.join(root, 'script'), script);
  await writeFile(
    path.join(root, 'init'),
    [
      '#!/bin/busybox sh',
      '/bin/busybox --install -s /bin',
      'export PATH=/bin',
      'mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev',
      'mount -t tmpfs -o mode=755 tmpfs /run; mount -t tmpfs -o mode=755 tmpfs /var',
      ...names.map((name) => `insmod /modules/${name}`),
      `echo; echo '${BEGIN}'`,
      'sh /script 2>&1',
      `echo '${END}'`,
      'sync; poweroff -f',
      '',
    ].join('\n'),
    { mode: 0o755 },
  );
  await execa('sh', ['-c', 'cd root && find . | cpio --quiet -o -H newc > ../initrd'], { cwd: folder });
}

async function shareArgs({ tag, folder, by }: Share, place: string): Promise<readonly string[]> {
  if ('9p' in by)
    return [
      '-fsdev',
      `local,id=${tag},path=${folder},security_model=${by['9p']},readonly=on`,
      '-device',
      `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`,
    ];
  const socket = `${place}.socket`;
  const options = [`source=${folder}`, ...by.virtiofs].flatMap((option) => ['-o', option]);
  const daemon = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', '/usr/lib/qemu/virtiofsd', '-f', `--socket-path=${socket}`, ...options],
    { stdio: 'ignore' },
  );
  const exited = once(daemon, 'exit');
  cleanUpLater(`virtiofsd of ${folder}`, async () => {
    daemon.kill('SIGKILL');
    await exited;
  });
  while (!existsSync(socket)) {
    if (daemon.exitCode !== null)
      throw new Error(`Expected virtiofsd to serve ${folder}, it ended with ${daemon.exitCode}`);
    await delay(20);
  }
  return ['-chardev', `socket,id=${tag},path=${socket}`, '-device', `vhost-user-fs-pci,chardev=${tag},tag=${tag}`];
}
