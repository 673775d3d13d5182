import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { hasKvm } from '../../agent/system/kvm.ts';
import { cleanUpLater } from './cleanup.ts';
import { type DebianSuite, ensureDebianPackages } from './debian-packages.ts';
import { type Guest, type GuestContent, tail } from './guest.ts';
import { putContent } from './guest-content.ts';
import { controlPort, guestControl, type GuestControl } from './guest-control.ts';
import { guestRoot } from './guest-root.ts';
import { connectQmp, connectUnix, type Qmp } from './qmp.ts';
import { tempTree } from './temp-tree.ts';

export interface VirtualDisk {
  /** Names it in QEMU and is its serial number in the guest: letters, digits and dashes, at most 20. */
  readonly id: string;
  /** A qcow2 file, attached read-only. */
  readonly file: string;
  /**
   * It can be unplugged: behind a PCI Express port of its own, of which there are eight. Disks plugged later always
   * are.
   */
  readonly pluggable?: boolean;
}

/** What a machine is told from outside, at one boot. */
export interface Outside {
  /** Credentials of its service manager, by name: in the tables of the BIOS, and in QEMU's own device. */
  readonly smbios?: Readonly<Record<string, string>>;
  readonly fwCfg?: Readonly<Record<string, string>>;
  /** Words for the kernel's command line. */
  readonly commandLine?: readonly string[];
  /** Arguments for QEMU, as they are. */
  readonly args?: readonly string[];
}

export interface VirtualMachineOptions extends GuestContent {
  readonly suite: DebianSuite;
}

/**
 * A virtual machine with a kernel, udev and block devices of its own. Its root disk keeps what is written between
 * boots.
 */
export interface VirtualMachine extends Guest {
  /** Switches it on with these disks, and waits until commands can be run: early in the boot, before Docker. */
  boot(disks: readonly VirtualDisk[], outside?: Outside): Promise<void>;
  /** Reboots in order, with the same disks. */
  reboot(): Promise<void>;
  poweroff(): Promise<void>;
  /** Ends it without any order, as a power cut does. */
  powerCut(): Promise<void>;
  plug(disk: VirtualDisk): Promise<void>;
  /** Pulls a disk out and waits until the guest's kernel has let go of it. */
  unplug(id: string): Promise<void>;
}

interface Running {
  readonly process: ChildProcess;
  readonly exited: Promise<unknown>;
  readonly kill: () => Promise<void>;
  readonly qmp: Qmp;
  readonly control: GuestControl;
  freePorts: string[];
}

/** Makes a disk as a virtual machine has it, of a raw one. */
export async function toQcow2(raw: string, qcow2: string): Promise<void> {
  await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, qcow2]);
}

/**
 * Some thirty times what a boot takes under KVM and ten times what it takes emulated on an idle machine of two cores.
 */
const bootTimeoutSec = 300;

/**
 * Makes a virtual machine, switched off, on a copy of a suite's root. It is gone after the run at the latest.
 * KVM is used where the processor's own is there, otherwise QEMU's emulation (TCG).
 */
export async function makeVirtualMachine(options: VirtualMachineOptions): Promise<VirtualMachine> {
  await ensureDebianPackages(['qemu-system-x86', 'qemu-utils', 'util-linux'], { install: true });
  const root = await guestRoot(options.suite);
  const tree = await tempTree('dpl-vm');
  const folder = tree.path;
  const disk = path.join(folder, 'root.ext4');
  await execa('cp', ['--sparse=always', root.disk, disk]);
  await putContent(folder, 'mount -o loop "$1/root.ext4" "$1/root"', options);

  const consoleFile = path.join(folder, 'console.log');
  const console = (): string => (existsSync(consoleFile) ? readFileSync(consoleFile, 'utf8') : '');
  let running: Running | undefined;
  let starts = 0;
  const state = (): Running => {
    if (running === undefined) throw new Error('Expected a running virtual machine, it is switched off');
    return running;
  };
  const failure = (message: string): Error => new Error(`${message}; its console ends:\n${tail(console(), 40)}`);

  return {
    console,
    run: async (command, timeoutSec = 120) => state().control.run(command, timeoutSec),
    boot: async (disks, outside = {}) => {
      if (running !== undefined) throw new Error('Expected a virtual machine that is switched off, it is running');
      const sockets = path.join(folder, `boot-${++starts}`);
      await mkdir(sockets);
      const ports = Array.from({ length: portCount }, (_, index) => `port${index}`);
      const args = [
        ...machineArgs(sockets, consoleFile),
        ...bootArgs(root, outside.commandLine),
        ...credentialArgs(outside),
        ...diskArgs(disks, ports, disk),
        ...(outside.args ?? []),
      ];
      running = await startQemu(args, sockets, consoleFile, ports, failure);
      await running.control.ready(bootTimeoutSec);
    },
    reboot: async () => {
      // The answer to this command may or may not come before the guest's script is killed.
      await state().control.run('systemctl --no-block reboot', bootTimeoutSec);
      await state().control.ready(bootTimeoutSec);
    },
    poweroff: async () => {
      const { control, exited, kill } = state();
      await control.run('systemctl --no-block poweroff', bootTimeoutSec);
      const timer = setTimeout(() => void kill(), bootTimeoutSec * 1000);
      await exited;
      clearTimeout(timer);
      if (state().process.signalCode !== null)
        throw failure(`Expected the guest to switch itself off within ${bootTimeoutSec} s`);
      await kill();
      running = undefined;
    },
    powerCut: async () => {
      await state().kill();
      running = undefined;
    },
    plug: async ({ id, file }) => {
      const { qmp, freePorts } = state();
      const port = freePorts.shift();
      if (port === undefined) throw new Error(`Expected a free port for disk ${id}, all ${portCount} are taken`);
      await qmp.execute('blockdev-add', {
        driver: 'qcow2',
        'node-name': id,
        'read-only': true,
        file: { driver: 'file', filename: file },
      });
      await qmp.execute('device_add', { driver: 'virtio-blk-pci', id: `dev-${id}`, drive: id, serial: id, bus: port });
    },
    unplug: async (id) => {
      const { qmp } = state();
      await Promise.all([
        qmp.event('DEVICE_DELETED', { device: `dev-${id}` }, 60),
        qmp.execute('device_del', { id: `dev-${id}` }),
      ]);
      await qmp.execute('blockdev-del', { 'node-name': id });
    },
  };
}

const portCount = 8;

function machineArgs(sockets: string, consoleFile: string): readonly string[] {
  return [
    ...(hasKvm() ? ['-accel', 'kvm', '-cpu', 'host'] : ['-accel', 'tcg,thread=multi,tb-size=512', '-cpu', 'max']),
    '-M',
    'q35',
    '-smp',
    '2',
    '-m',
    '2048',
    '-boot',
    'strict=on',
    '-nodefaults',
    '-no-user-config',
    '-display',
    'none',
    '-chardev',
    `file,id=console,path=${consoleFile},append=on`,
    '-serial',
    'chardev:console',
    '-chardev',
    `socket,id=control,path=${sockets}/control,server=on,wait=off`,
    '-device',
    'virtio-serial-pci,addr=3',
    '-device',
    `virtserialport,chardev=control,name=${controlPort}`,
    '-qmp',
    `unix:${sockets}/qmp,server=on,wait=off`,
    // The root bus of q35 takes no disk while it runs; a port does.
    ...Array.from({ length: portCount }, (_, index) => [
      '-device',
      `pcie-root-port,id=port${index},chassis=${index + 1},multifunction=on,addr=4.${index}`,
    ]).flat(),
  ];
}

/** The words that a guest's kernel gets. */
export const kernelWords: readonly string[] = [
  'root=LABEL=guest-root',
  'rw',
  'console=ttyS0',
  'quiet',
  'panic=-1',
  'mitigations=off',
  'apparmor=0',
  'net.ifnames=0',
  'systemd.show_status=auto',
  'systemd.getty_auto=no',
  // What udev would load for an emulated processor, to no use here.
  'modprobe.blacklist=kvm_amd,kvm_intel,aesni_intel,ghash_clmulni_intel,sha512_ssse3,sha256_ssse3,sha1_ssse3,crct10dif_pclmul,crc32_pclmul,serio_raw',
];

function bootArgs(
  root: { readonly kernel: string; readonly initrd: string },
  words: readonly string[] = [],
): readonly string[] {
  return ['-kernel', root.kernel, '-initrd', root.initrd, '-append', [...kernelWords, ...words].join(' ')];
}

function credentialArgs({ smbios = {}, fwCfg = {} }: Outside): readonly string[] {
  // QEMU ends a value at a comma, unless that is there twice.
  const value = (text: string): string => text.replaceAll(',', ',,');
  return [
    ...Object.entries(smbios).flatMap(([name, text]) => [
      '-smbios',
      `type=11,value=io.systemd.credential:${name}=${value(text)}`,
    ]),
    ...Object.entries(fwCfg).flatMap(([name, text]) => [
      '-fw_cfg',
      `name=opt/io.systemd.credentials/${name},string=${value(text)}`,
    ]),
  ];
}

/** Disks sit eight to a PCI slot from slot 5 on, so that more than thirty have room; pluggable ones sit in ports. */
function diskArgs(disks: readonly VirtualDisk[], ports: string[], rootDisk: string): readonly string[] {
  const args = [
    '-blockdev',
    `driver=raw,node-name=root,file.driver=file,file.filename=${rootDisk},file.cache.no-flush=on`,
    '-device',
    'virtio-blk-pci,drive=root,id=dev-root,addr=2',
  ];
  let fixed = 0;
  for (const { id, file, pluggable } of disks) {
    const place =
      pluggable === true ? `bus=${ports.shift() ?? ''}` : `multifunction=on,addr=${5 + (fixed >> 3)}.${fixed++ & 7}`;
    args.push(
      '-blockdev',
      `driver=qcow2,node-name=${id},read-only=on,file.driver=file,file.filename=${file}`,
      '-device',
      `virtio-blk-pci,drive=${id},id=dev-${id},serial=${id},num-queues=1,${place}`,
    );
  }
  return args;
}

async function startQemu(
  args: readonly string[],
  sockets: string,
  consoleFile: string,
  freePorts: string[],
  failure: (message: string) => Error,
): Promise<Running> {
  const output = openSync(`${consoleFile}.qemu`, 'a');
  const process = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...args], {
    stdio: ['ignore', output, output],
    detached: true,
  });
  closeSync(output);
  const exited = once(process, 'exit');
  const kill = cleanUpLater(`virtual machine ${sockets}`, async () => {
    process.kill('SIGKILL');
    await exited;
  });
  const started = Promise.all([connectQmp(`${sockets}/qmp`), connectUnix(`${sockets}/control`)]);
  const first = await Promise.race([started, exited.then(() => undefined)]);
  if (first === undefined) {
    started.catch(() => undefined);
    throw new Error(`Expected QEMU to start, it said: ${readFileSync(`${consoleFile}.qemu`, 'utf8')}`);
  }
  const [qmp, socket] = first;
  return { process, exited, kill, qmp, control: guestControl(socket, failure), freePorts };
}
