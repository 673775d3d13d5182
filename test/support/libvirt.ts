import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { hasKvm } from '../../agent/system/kvm.ts';
import { cleanUpLater } from './cleanup.ts';
import { ensureDebianPackages } from './debian-packages.ts';
import { type Guest, tail } from './guest.ts';
import { putContent } from './guest-content.ts';
import { controlPort, guestControl } from './guest-control.ts';
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
 * Boots a guest by the real libvirt, with what its domain has beside the root disk. There is no libvirtd: virt-qemu-run has
 * libvirt's driver within itself, below a root of its own.
 * @param more contents of the elements of a domain, by their names
 */
export async function bootInLibvirt(
  options: VirtualMachineOptions,
  more: { readonly os: string; readonly devices: string; readonly domain: string },
): Promise<LibvirtMachine> {
  const root = await guestRoot(options.suite);
  const { path: folder } = await tempTree('dpl-libvirt');
  const disk = path.join(folder, 'root.ext4');
  await execa('cp', ['--sparse=always', root.disk, disk]);
  await putContent(folder, 'mount -o loop "$1/root.ext4" "$1/root"', options);
  const [consoleFile, control] = [path.join(folder, 'console.log'), path.join(folder, 'control')];
  const name = path.basename(folder);
  const console = (): string => (existsSync(consoleFile) ? readFileSync(consoleFile, 'utf8') : '');
  const domain = await startDomain(
    folder,
    name,
    `<domain type='${hasKvm() ? 'kvm' : 'qemu'}'>
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
    ${more.os}
  </os>
  ${more.domain}
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw' cache='unsafe'/>
      <source file='${disk}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <serial type='file'><source path='${consoleFile}'/></serial>
    <channel type='unix'>
      <source mode='bind' path='${control}'/>
      <target type='virtio' name='${controlPort}'/>
    </channel>
    <memballoon model='none'/>
    ${more.devices}
  </devices>
</domain>
`,
  );
  const failure = (message: string): Error =>
    new Error(`${message}; libvirt says:\n${domain.said()}\nthe console ends:\n${tail(console(), 40)}`);
  const guest = guestControl(await connectUnix(control), failure);
  await guest.ready(bootTimeoutSec);
  return { console, end: domain.end, run: async (command, timeoutSec = 120) => guest.run(command, timeoutSec) };
}

interface Domain {
  readonly said: () => string;
  readonly end: () => Promise<void>;
}

/** Starts a domain. @param folder for all that libvirt has of it @throws Error with what libvirt says */
export async function startDomain(folder: string, name: string, xml: string): Promise<Domain> {
  await ensureDebianPackages(['qemu-system-x86', 'libvirt-daemon-driver-qemu', 'util-linux'], { install: true });
  await mkdir(path.join(folder, 'libvirt/etc'), { recursive: true });
  await writeFile(path.join(folder, 'libvirt/etc/qemu.conf'), qemuConf);
  // The users that libvirtd's package makes, which the driver wants to know.
  await writeFile(path.join(folder, 'passwd'), `${readFileSync('/etc/passwd', 'utf8')}${user}::/:/bin/false\n`);
  await writeFile(
    path.join(folder, 'group'),
    `${readFileSync('/etc/group', 'utf8')}libvirt-qemu:x:64055:\nkvm:x:64056:\n`,
  );
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

const user = 'libvirt-qemu:x:64055:64056:';

const start = `mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group &&
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
