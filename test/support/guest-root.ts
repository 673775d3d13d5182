import { createHash } from 'node:crypto';
import { mkdir, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { cached } from './cache.ts';
import { debianMirror } from '../../agent/packaging/small/debian-apt.ts';
import { ensureDebianPackages, type DebianSuite } from './debian-packages.ts';
import { controlScript, controlUnit } from './guest-control.ts';

/** A Debian system with systemd and Docker, to boot in a container or in a virtual machine. Read only: boot copies. */
export interface GuestRoot {
  readonly suite: DebianSuite;
  /** The tree, for systemd-nspawn. */
  readonly tree: string;
  /** The same as a raw ext4 filesystem, label `guest-root`, mostly holes. */
  readonly disk: string;
  readonly kernel: string;
  readonly initrd: string;
}

/**
 * Returns the guest system of a Debian suite, made with mmdebstrap on first use (about a minute) and cached.
 *
 * It has no Node, no ssh and no network; its dockerd is configured without a bridge and without iptables.
 * @throws Error with mmdebstrap's last lines
 */
export async function guestRoot(suite: DebianSuite): Promise<GuestRoot> {
  const folder = await cached(`guest-${suite}-${recipeDigest(suite)}`, async (temp) => {
    await ensureDebianPackages(['mmdebstrap', 'e2fsprogs'], { install: true });
    const tree = path.join(temp, 'root');
    await debootstrap(suite, tree);
    await configure(tree);
    await execa('mke2fs', [
      '-q',
      '-t',
      'ext4',
      '-L',
      'guest-root',
      '-b',
      '4096',
      '-d',
      tree,
      path.join(temp, 'root.ext4'),
      '2G',
    ]);
    const boot = await readdir(path.join(tree, 'boot'));
    for (const [name, prefix] of [
      ['kernel', 'vmlinuz-'],
      ['initrd', 'initrd.img-'],
    ] as const) {
      const found = boot.find((file) => file.startsWith(prefix));
      if (found === undefined)
        throw new Error(`Expected a ${prefix}* in the /boot of Debian ${suite}, found ${boot.join(', ')}`);
      await rename(path.join(tree, 'boot', found), path.join(temp, name));
    }
  });
  return {
    suite,
    tree: path.join(folder, 'root'),
    disk: path.join(folder, 'root.ext4'),
    kernel: path.join(folder, 'kernel'),
    initrd: path.join(folder, 'initrd'),
  };
}

/** The suite that the environment variable DPL_GUEST_SUITE asks for, otherwise the given one. */
export function chosenSuite(otherwise: DebianSuite): DebianSuite {
  const asked = process.env['DPL_GUEST_SUITE'] ?? '';
  if (asked === '') return otherwise;
  const suite = (['bookworm', 'trixie', 'forky'] as const).find((name) => name === asked);
  if (suite === undefined)
    throw new Error(`Expected DPL_GUEST_SUITE to be bookworm, trixie or forky, got \`${asked}\``);
  return suite;
}

function packages(suite: DebianSuite): readonly string[] {
  const names = [
    'systemd',
    'systemd-sysv',
    'udev',
    'dbus',
    'docker.io',
    'containerd',
    'runc',
    'busybox-static',
    'util-linux',
    'kmod',
    'procps',
    'e2fsprogs',
    'linux-image-cloud-amd64',
    'initramfs-tools',
  ];
  // Debian 12's docker.io still has the client in it.
  return suite === 'bookworm' ? names : [...names, 'docker-cli'];
}

/** Configuration of the guest, by path. */
const files: Readonly<Record<string, string>> = {
  'etc/docker/daemon.json': '{ "bridge": "none", "iptables": false }\n',
  'etc/hostname': 'guest\n',
  // A fixed id: with an empty one each boot would be another machine to journalctl, and `-b -1` would find nothing.
  'etc/machine-id': '6f3a0c52d4e84f0b9a1d7c35e2b84f61\n',
  // The first boot is not a first boot to systemd: what it would do then is no test of ours and takes seconds under
  // TCG.
  'etc/.updated': '',
  'var/.updated': '',
  'etc/systemd/journald.conf.d/guest.conf': '[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\n',
  'etc/systemd/system/guest-control.service': controlUnit,
  'usr/local/lib/guest-control': controlScript,
};

/** Units that no test needs and that each cost tenths of a second of emulated boot. */
const masked = [
  'e2scrub_reap.service',
  'e2scrub_all.timer',
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'dpkg-db-backup.timer',
  'fstrim.timer',
  'getty.target',
  'console-getty.service',
  'systemd-pstore.service',
  'modprobe@configfs.service',
  'modprobe@drm.service',
  'modprobe@efi_pstore.service',
  'modprobe@fuse.service',
  'sys-kernel-config.mount',
  'sys-kernel-debug.mount',
  'sys-kernel-tracing.mount',
  'sys-fs-fuse-connections.mount',
  'dev-hugepages.mount',
  'dev-mqueue.mount',
  'systemd-binfmt.service',
  'systemd-hwdb-update.service',
  'systemd-journal-catalog-update.service',
  'systemd-update-utmp.service',
];

/**
 * initramfs-tools with these modules alone: a third of the size, which counts when the kernel that unpacks it is
 * emulated.
 */
const initrdModules = ['virtio_pci', 'virtio_blk', 'ext4'];

async function debootstrap(suite: DebianSuite, tree: string): Promise<void> {
  const mirror = await debianMirror();
  const result = await execa(
    'mmdebstrap',
    [
      '--mode=root',
      '--variant=minbase',
      '--architectures=amd64',
      `--include=${packages(suite).join(',')}`,
      '--aptopt=APT::Install-Recommends "false"',
      '--aptopt=Acquire::Languages "none"',
      // A suite that is not released has a Release file that expires within days.
      '--aptopt=Acquire::Check-Valid-Until "false"',
      ...['doc', 'man', 'locale', 'info', 'bug', 'lintian'].map(
        (name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`,
      ),
      '--essential-hook=mkdir -p "$1/etc/initramfs-tools/conf.d" && echo MODULES=list > "$1/etc/initramfs-tools/conf.d/guest"',
      `--essential-hook=echo ${initrdModules.join(' ')} | tr " " "\\n" > "$1/etc/initramfs-tools/modules"`,
      suite,
      tree,
      mirror,
    ],
    { all: true, reject: false, stdin: 'ignore', timeout: 15 * 60_000 },
  );
  if (result.failed)
    throw new Error(
      `Expected mmdebstrap to make Debian ${suite} from ${mirror}, got:\n${String(result.all).split('\n').slice(-15).join('\n')}`,
    );
}

async function configure(tree: string): Promise<void> {
  await rm(path.join(tree, 'var/cache/apt'), { recursive: true, force: true });
  await mkdir(path.join(tree, 'var/log/journal'), { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(tree, name);
    await mkdir(path.dirname(file), { recursive: true });
    await rm(file, { force: true });
    await writeFile(file, text, { mode: name.startsWith('usr/local/lib/') ? 0o755 : 0o644 });
  }
  const units = path.join(tree, 'etc/systemd/system');
  for (const unit of masked) {
    await rm(path.join(units, unit), { force: true });
    await symlink('/dev/null', path.join(units, unit));
  }
  await mkdir(path.join(units, 'sysinit.target.wants'), { recursive: true });
  await symlink(
    '/etc/systemd/system/guest-control.service',
    path.join(units, 'sysinit.target.wants/guest-control.service'),
  );
}

/** Changes when anything above changes, so that the cache never gives a root made by another recipe. */
function recipeDigest(suite: DebianSuite): string {
  const recipe = JSON.stringify([
    packages(suite),
    files,
    masked,
    initrdModules,
    debootstrap.toString(),
    configure.toString(),
  ]);
  return createHash('sha256').update(recipe).digest('hex').slice(0, 12);
}
