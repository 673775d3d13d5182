import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { mkdir, rmdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { hasKvm } from '../../agent/system/kvm.ts';
import { cleanUpLater } from './cleanup.ts';
import { ensureDebianPackages, fetchDebianPackage } from './debian-packages.ts';
import { type Guest, tail } from './guest.ts';
import { putContent } from './guest-content.ts';
import { controlPort, guestControl, type GuestControl } from './guest-control.ts';
import { guestRoot } from './guest-root.ts';
import { kernelWords, type VirtualMachineOptions } from './qemu.ts';
import { connectUnix } from './qmp.ts';
import { tempTree } from './temp-tree.ts';
import { until } from './until.ts';

/** A virtual machine of libvirt's. */
export interface LibvirtMachine extends Guest {
  /** Ends it without any order. */
  end(): Promise<void>;
}

const bootTimeoutSec = 300;

/**
 * Boots a guest by the real libvirt, with what its domain has beside the root disk. There is no libvirtd: virt-qemu-run
 * has libvirt's driver within itself, below a root of its own.
 */
export async function bootInLibvirt(options: VirtualMachineOptions, more: DomainParts): Promise<LibvirtMachine> {
  const { path: folder } = await tempTree('dpl-libvirt');
  const name = path.basename(folder);
  const domain = await startDomain(folder, name, await guestDomain(folder, name, options, more));
  return { ...(await connectGuest(folder, domain.said)), end: domain.end };
}

/** Contents of the elements of a domain, by their names. */
export interface DomainParts {
  readonly os?: string;
  readonly devices?: string;
  readonly domain?: string;
}

/**
 * The XML of a domain that is a guest, with what it has beside the root disk.
 * @param folder gets that disk, the console, and the port through which commands are run
 */
export async function guestDomain(
  folder: string,
  name: string,
  options: VirtualMachineOptions,
  more: DomainParts,
): Promise<string> {
  const root = await guestRoot(options.suite);
  const disk = path.join(folder, 'root.ext4');
  await execa('cp', ['--sparse=always', root.disk, disk]);
  await putContent(folder, 'mount -o loop "$1/root.ext4" "$1/root"', options);
  return `<domain type='${hasKvm() ? 'kvm' : 'qemu'}'>
  <name>${name}</name>
  <memory unit='MiB'>2048</memory>
  <vcpu>2</vcpu>
  <cpu mode='${hasKvm() ? 'host-passthrough' : 'maximum'}'/>
  <features><acpi/></features>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>${root.kernel}</kernel>
    <initrd>${root.initrd}</initrd>
    <cmdline>${kernelWords.join(' ')}</cmdline>
    ${more.os ?? ''}
  </os>
  ${more.domain ?? ''}
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='unsafe'/>
      <source file='${disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <serial type='file'><source path='${consoleOf(folder)}'/></serial>
    <channel type='unix'>
      <source mode='bind' path='${controlOf(folder)}'/>
      <target type='virtio' name='${controlPort}'/>
    </channel>
    <memballoon model='none'/>
    ${more.devices ?? ''}
  </devices>
</domain>
`;
}

const consoleOf = (folder: string): string => path.join(folder, 'console.log');
const controlOf = (folder: string): string => path.join(folder, 'control');

/** Waits until commands can be run in a guest. @param said what libvirt says of it */
export async function connectGuest(folder: string, said: () => string): Promise<Guest & Pick<GuestControl, 'ready'>> {
  const console = (): string => (existsSync(consoleOf(folder)) ? readFileSync(consoleOf(folder), 'utf8') : '');
  const failure = (message: string): Error =>
    new Error(`${message}; libvirt says:\n${said()}\nthe console ends:\n${tail(console(), 40)}`);
  const control = guestControl(await connectUnix(controlOf(folder)), failure);
  await control.ready(bootTimeoutSec);
  return {
    console,
    ready: (timeoutSec) => control.ready(timeoutSec),
    run: async (command, timeoutSec = 120) => control.run(command, timeoutSec),
  };
}

interface Domain {
  readonly said: () => string;
  readonly end: () => Promise<void>;
}

/** Starts a domain. @param folder for all that libvirt has of it @throws Error with what libvirt says */
export async function startDomain(folder: string, name: string, xml: string): Promise<Domain> {
  await ensureDebianPackages(driverPackages, { install: true });
  await configure(folder);
  await writeFile(path.join(folder, 'domain.xml'), xml);
  const output = openSync(path.join(folder, 'libvirt.log'), 'a');
  const process = spawn(
    'setpriv',
    ['--pdeathsig', 'INT', 'unshare', '--mount', '--propagation', 'private', 'sh', '-c', start, 'sh', folder],
    { stdio: ['ignore', output, output], detached: true },
  );
  closeSync(output);
  const exited = once(process, 'exit');
  // At this signal, it destroys the domain.
  const end = cleanUpLater(`libvirt domain ${name}`, async () => {
    process.kill('SIGINT');
    await exited;
  });
  const said = (): string => readFileSync(path.join(folder, 'libvirt.log'), 'utf8');
  await until(
    'libvirt to start a guest, or to end',
    () => process.exitCode !== null || said().includes('guest running'),
    120_000,
  );
  if (process.exitCode !== null) throw new Error(`Expected libvirt to start ${name}, it says:\n${said()}`);
  return { said, end };
}

const driverPackages = ['qemu-system-x86', 'libvirt-daemon-driver-qemu', 'util-linux'];

/** Writes what the driver reads. */
async function configure(folder: string): Promise<void> {
  await mkdir(path.join(folder, 'libvirt/etc'), { recursive: true });
  await writeFile(path.join(folder, 'libvirt/etc/qemu.conf'), qemuConf);
  // The users that libvirtd's package makes, which the driver wants to know.
  await writeFile(path.join(folder, 'passwd'), `${readFileSync('/etc/passwd', 'utf8')}${user}::/:/bin/false\n`);
  await writeFile(
    path.join(folder, 'group'),
    `${readFileSync('/etc/group', 'utf8')}libvirt-qemu:x:64055:\nkvm:x:64056:\n`,
  );
}

const user = 'libvirt-qemu:x:64055:64056:';

const users = 'mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group';
const start = `${users} &&
exec virt-qemu-run --verbose --root "$1/libvirt" "$1/domain.xml"`;

/** What needs no other process, and nothing of systemd. */
const qemuConf = `user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
namespaces = []
cgroup_controllers = []
remember_owner = 0
`;

/** Where libvirtd has its state. */
const states = ['/run/libvirt', '/var/lib/libvirt', '/var/cache/libvirt', '/var/log/libvirt'];

/** A host with Debian's libvirtd, whose state and sockets nobody else sees. */
export interface LibvirtHost {
  /** Runs a script of bash there, with virsh and all that PATH leads to. @throws Error with what it says */
  bash(script: string, env?: Readonly<Record<string, string>>): Promise<string>;
  readonly said: () => string;
}

/**
 * Starts libvirtd without systemd, as root of a mount namespace.
 * @param folder for all that it has, and what is run there
 * @param hosts further lines of /etc/hosts
 */
export async function startLibvirtHost(folder: string, hosts: string): Promise<LibvirtHost> {
  await ensureDebianPackages(driverPackages, { install: true });
  const packages = await fetchDebianPackage('bookworm', ['libvirt-daemon', 'libvirt-clients']);
  await configure(folder);
  await writeFile(path.join(folder, 'hosts'), `${readFileSync('/etc/hosts', 'utf8')}${hosts}`);
  await writeFile(path.join(folder, 'libvirt/etc/libvirtd.conf'), 'auth_unix_rw = "none"\n');
  const log = path.join(folder, 'libvirtd.log');
  const output = openSync(log, 'a');
  const script = `${users} && mount --bind "$1/hosts" /etc/hosts
mount --bind "$1/libvirt/etc" /etc/libvirt || exit
for state in ${states.join(' ')}; do
  mount -t tmpfs tmpfs "$state" || exit
done
exec "$2/usr/sbin/libvirtd"`;
  // Mounts need folders, of which those are removed that a package would have made.
  const made = ['/etc/libvirt', ...states].filter((state) => !existsSync(state));
  for (const state of made) await mkdir(state, { recursive: true });
  cleanUpLater('folders of libvirt', async () => {
    for (const state of made) await rmdir(state).catch(() => undefined);
  });
  const libvirtd = spawn(
    'setpriv',
    [
      '--pdeathsig',
      'KILL',
      'unshare',
      '--mount',
      '--propagation',
      'private',
      'sh',
      '-c',
      script,
      'sh',
      folder,
      packages,
    ],
    { stdio: ['ignore', output, output], detached: true },
  );
  closeSync(output);
  const exited = once(libvirtd, 'exit');
  const said = (): string => readFileSync(log, 'utf8');
  const bash = async (text: string, env: Readonly<Record<string, string>> = {}): Promise<string> => {
    const enter = [`--target=${libvirtd.pid}`, '--mount', `--wd=${folder}`];
    const { failed, stdout, all } = await execa('nsenter', [...enter, 'bash', '-ec', text], {
      all: true,
      reject: false,
      stdin: 'ignore',
      env: { ...env, PATH: `${packages}/usr/bin:${env['PATH'] ?? process.env['PATH'] ?? ''}` },
    });
    if (failed) throw new Error(`Expected \`${text}\` to succeed, it says:\n${all}\nlibvirt says:\n${said()}`);
    return stdout;
  };
  cleanUpLater('libvirtd', async () => {
    if (libvirtd.exitCode !== null) return;
    // Domains outlive it.
    await bash('for name in $(virsh list --name); do virsh destroy "$name"; done').catch(() => undefined);
    libvirtd.kill('SIGKILL');
    await exited;
  });
  await until(
    'libvirtd to answer, or to end',
    async () =>
      libvirtd.exitCode !== null ||
      (await bash('virsh version').then(
        () => true,
        () => false,
      )),
    60_000,
  );
  if (libvirtd.exitCode !== null) throw new Error(`Expected libvirtd to start, it says:\n${said()}`);
  return { bash, said };
}
