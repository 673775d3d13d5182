import { execFileSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { checkResult } from '../../agent/overlay2/check-result.ts';
import { defaultConfig, type Config } from '../../agent/config/config.ts';
import { parseTrustedKey } from '../../agent/config/trusted-key.ts';
import { readConfig } from '../../agent/config/read-config.ts';
import { differences } from '../../agent/verify/differences.ts';
import { discover, labelFilter } from '../../agent/boot/discover.ts';
import { mountDisks } from '../../agent/boot/mount-disks.ts';
import { findHiddenMounts, findLostDisks } from '../../agent/boot/present-mounts.ts';
import { preload } from '../../agent/boot/preload.ts';
import { takeLock } from '../../agent/overlay2/store-lock.ts';
import { openArchive } from '../../agent/builder/archive/open-archive.ts';
import { inspectDisk } from '../../agent/verify/inspect-disk.ts';
import { machinePlatform } from '../../agent/builder/archive/platform.ts';
import { readImages } from '../../agent/builder/archive/read-images.ts';
import { runTool } from '../../agent/system/run-tool.ts';
import { bootOrder } from '../../agent/commands/boot-order.ts';
import { readAheadListOf } from '../../agent/commands/record.ts';
import { metadataFaults } from '../../agent/verify/compare-contents.ts';
import { notAwaited } from '../../agent/daemon/containerd-unit.ts';
import { differenceOf } from '../../agent/daemon/docker-service.ts';
import type { Finding } from '../../agent/messages/finding.ts';
import { FolderReader } from '../../agent/disk/folder-reader.ts';
import { SIGNATURE_NAME } from '../../agent/disk/manifest-signer.ts';
import type { Sample } from '../../agent/disk/manifest.ts';
import { readDisk } from '../../agent/disk/read-disk.ts';
import { readSignedDisk } from '../../agent/disk/signed-disk.ts';
import { readDaemonConfig } from '../../agent/docker/daemon-config.ts';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { Store } from '../../agent/overlay2/store/store.ts';
import type { BlockDevice } from '../../agent/system/block-devices.ts';
import type { Code } from '../../agent/messages/codes.ts';
import { messageOf, PreloaderError } from '../../agent/system/errors.ts';
import { tryLockFile } from '../../agent/system/lock.ts';
import { aDocument } from '../boot-order/a-document.ts';
import { diskOf, planOf } from '../containerd/made-up.ts';
import { FakeGuest } from '../boot/fake-guest.ts';
import { makeKey, signFile } from '../support/signing-key.ts';
import { factsOf, loadImages, must, setReference, writeFile, type ImageSpec } from '../boot/fake-store.ts';
import { foundDisk } from '../status/a-run.ts';
import { required } from '../support/required.ts';

/** Where a code is to be provoked: a folder of its own, and a real disk on a loop device. */
export interface Ground {
  readonly folder: string;
  /** The disk's label, which no other disk of this machine has. */
  readonly label: string;
  /** A file that holds the filesystem. */
  readonly diskFile: string;
  /** The loop device that it is attached as. */
  readonly device: BlockDevice;
  /** Attaches a further file. */
  attach(file: string): Promise<BlockDevice>;
  /** Undone after the case. */
  after(undo: () => unknown): void;
}

type Reach = (ground: Ground) => readonly Finding[] | Promise<readonly Finding[]>;

const app: ImageSpec = { layers: ['base', 'app'], references: ['app:1'] };

/** What is thrown, as main.ts and the pipeline make an entry of it. */
async function thrown(action: () => unknown): Promise<Finding[]> {
  try {
    await action();
  } catch (error) {
    if (error instanceof PreloaderError) return [{ code: error.code, message: messageOf(error) }];
    throw error;
  }
  return [];
}

function configOf({ folder, label }: Ground, change: Partial<Config> = {}): Config {
  return {
    ...defaultConfig(),
    labels: [`${label}*`],
    deviceTimeoutSec: 0,
    dataRoot: path.join(folder, 'docker'),
    dockerConfig: path.join(folder, 'daemon.json'),
    mountRoot: path.join(folder, 'disks'),
    statusSocket: path.join(folder, 'run/s.sock'),
    ...change,
  };
}

/** A whole run on the real disk. */
const run = async (ground: Ground, change: Partial<Config> = {}): Promise<readonly Finding[]> =>
  (await preload(configOf(ground, change), { wait: false, change: 'stopped', quiet: true })).findings;
const inRoot = ({ folder }: Ground, name: string): string => path.join(folder, 'docker', name);

/** A disk as a plain folder, read. */
function onDisk(ground: Ground, change: (root: string) => void): Promise<Finding[]> | readonly Finding[] {
  const root = path.join(ground.folder, 'tree');
  loadImages(root, [app]);
  change(root);
  try {
    return readDisk('dpl-a', new FolderReader(root)).findings;
  } catch (error) {
    return thrown(() => {
      throw error;
    });
  }
}

/** Some key, which has signed nothing. */
const trusted = parseTrustedKey(`ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI${'A'.repeat(43)}`) ?? '';

/** A disk as a plain folder that another key than the trusted one has signed. */
function onSignedDisk({ folder }: Ground, change: (root: string) => void): Promise<Finding[]> {
  const root = path.join(folder, 'tree');
  loadImages(root, [app]);
  const manifest = path.join(root, 'docker-preloader.json');
  writeFileSync(
    manifest,
    JSON.stringify({ formatVersion: '1.0', createdBy: 'test', images: [], layers: [], metadata: {} }),
  );
  signFile(manifest, makeKey(path.join(folder, 'key')));
  change(root);
  return thrown(() => readSignedDisk('dpl-a', root, [trusted]));
}

function found(ground: Ground, device: BlockDevice): readonly Finding[] {
  return discover(labelFilter({ labels: [`${ground.label}*`, 'bad*'], required: [] }), [device]).findings;
}

/** A copy of the disk that something is wrong with. */
function copyOf(ground: Ground, change: (file: string) => void): Promise<BlockDevice> {
  const file = path.join(ground.folder, 'copy');
  cpSync(ground.diskFile, file);
  change(file);
  return ground.attach(file);
}

function booted(ground: Ground, story: (guest: FakeGuest) => void): readonly Finding[] {
  const guest = new FakeGuest(ground.folder);
  guest.attach('dpl-a', [app]);
  story(guest);
  return guest.boot().findings;
}

/** What `verify` finds between a guest's store and its disk. */
function verified(ground: Ground, story: (guest: FakeGuest) => void): readonly Finding[] {
  const guest = new FakeGuest(ground.folder);
  guest.attach('dpl-a', [app]);
  story(guest);
  return differences({
    store: new Store(guest.dataRoot),
    plan: guest.plan(),
    disks: [{ ...foundDisk('dpl-a'), path: guest.diskPath('dpl-a'), adopted: true }],
    cure: 'docker-preloader apply',
  });
}

/** A folder with what a disk has. */
function asFolder(
  ground: Ground,
  { mode = 0o700, ...manifest }: { readonly mode?: number; readonly samples?: readonly Sample[] },
): string {
  const root = path.join(ground.folder, 'folder');
  loadImages(root, [app]);
  writeFileSync(
    path.join(root, 'docker-preloader.json'),
    JSON.stringify({ formatVersion: '1.1', createdBy: 'test', images: [], layers: [], metadata: {}, ...manifest }),
  );
  chmodSync(root, mode);
  return root;
}

async function withoutPrograms(action: () => Promise<unknown>): Promise<void> {
  const before = process.env['PATH'];
  process.env['PATH'] = '/nonexistent';
  try {
    await action();
  } finally {
    process.env['PATH'] = before;
  }
}

/** It is unmounted with whatever else is mounted below the case's folder. */
function mounted(file: string, type: string, options: readonly string[] = []): void {
  mkdirSync(file, { recursive: true });
  execFileSync('mount', ['-t', type, ...options, type, file]);
}

/**
 * For each code what provokes it: real runs on a real disk where a run finds it, otherwise the call that does. A code
 * without a case does not compile.
 */
export const reach: Readonly<Record<Code, Reach>> = {
  CONFIG_INVALID: ({ folder }) =>
    thrown(() => {
      writeFileSync(path.join(folder, 'config.json'), '{"lables":[]}');
      return readConfig(path.join(folder, 'config.json'));
    }),
  DOCKER_CONFIG_INVALID: ({ folder }) =>
    thrown(() => {
      writeFileSync(path.join(folder, 'daemon.json'), '{');
      return readDaemonConfig(path.join(folder, 'daemon.json'));
    }),
  DATA_ROOT_DIFFERS: () => [
    must(
      differenceOf(
        { dataRoot: '/srv/docker', storageDriver: undefined, usernsRemap: undefined, hosts: [] },
        '/var/lib/docker',
        '/etc/docker/daemon.json',
      ),
    ),
  ],
  CONTAINERD_NOT_AWAITED: () => [notAwaited(['k8s.io'], undefined)],
  STORE_UNSUPPORTED: (ground) => {
    writeFileSync(path.join(ground.folder, 'daemon.json'), '{"storage-driver":"vfs"}');
    return run(ground);
  },
  STORE_INVALID: (ground) => {
    writeFile(metadataPaths(inRoot(ground, '')).repositories, '');
    return run(ground);
  },
  STORE_WRITE: (ground) => {
    // A file where the store's own temporary folder belongs.
    writeFile(inRoot(ground, 'image/overlay2/layerdb/tmp'), '');
    return run(ground);
  },
  STORE_FULL: (ground) => {
    mounted(inRoot(ground, ''), 'tmpfs', ['-o', 'nr_inodes=40']);
    return run(ground);
  },
  LEDGER_NEWER: (ground) => {
    writeFile(inRoot(ground, 'docker-preloader/ledger.json'), '{"formatVersion":"9.0"}');
    return run(ground);
  },
  LEDGER_INVALID: (ground) => {
    writeFile(inRoot(ground, 'docker-preloader/ledger.json'), '{');
    return run(ground);
  },
  LOCKED: (ground) =>
    thrown(async () => {
      writeFile(inRoot(ground, 'docker-preloader/lock'), '');
      const lock = tryLockFile(inRoot(ground, 'docker-preloader/lock'));
      ground.after(() => lock !== 'held' && lock.release());
      await takeLock(inRoot(ground, ''), { timeoutUsec: 1 });
    }),
  DOCKER_RUNNING: (ground) => {
    writeFile(inRoot(ground, 'volumes/metadata.db'), '');
    const lock = tryLockFile(inRoot(ground, 'volumes/metadata.db'));
    ground.after(() => lock !== 'held' && lock.release());
    return run(ground);
  },
  MOUNT_NAMESPACE: () => findHiddenMounts([{ ...foundDisk('dpl-a'), path: '/nonexistent/dpl-a', adopted: false }]),
  DISK_MISSING: (ground) => run(ground, { labels: ['nowhere'] }),
  REQUIRED_MISSING: (ground) => run(ground, { required: required('nowhere') }),
  DISK_CONTENT: (ground) => run(ground, { required: required(`${ground.label}@sha256:${'0'.repeat(64)}`) }),
  DISK_UNSIGNED: (ground) => run(ground, { trustedKeys: [trusted] }),
  SIGNATURE_INVALID: (ground) =>
    onSignedDisk(ground, (root) => writeFileSync(path.join(root, SIGNATURE_NAME), 'no signature')),
  SIGNATURE_UNTRUSTED: (ground) => onSignedDisk(ground, () => undefined),
  LABEL_INVALID: async (ground) =>
    found(
      ground,
      await copyOf(ground, (file) => execFileSync('tune2fs', ['-L', 'bad/label', file], { stdio: 'ignore' })),
    ),
  LABEL_DUPLICATE: async (ground) => {
    const second = await copyOf(ground, () => undefined);
    const disks = [ground.device, second].map((device) => ({
      ...foundDisk(ground.label),
      device,
      superblock: { ...foundDisk(ground.label).superblock, filesystem: 'ext4' } as const,
    }));
    return mountDisks(
      { disks: new Map([[ground.label, disks]]), refused: [], findings: [], missing: [] },
      path.join(ground.folder, 'disks'),
      { mayUnmount: true },
    ).findings;
  },
  DISK_TWICE: async (ground) => {
    const manifest = path.join(ground.folder, 'manifest');
    writeFileSync(
      manifest,
      JSON.stringify({ formatVersion: '1.0', createdBy: 'test', images: [], layers: [], metadata: {} }),
    );
    const first = await copyOf(ground, (file) =>
      execFileSync('debugfs', ['-w', '-R', `write ${manifest} docker-preloader.json`, file], { stdio: 'ignore' }),
    );
    const disks = [first, await ground.attach(path.join(ground.folder, 'copy'))].map((device) => ({
      ...foundDisk(ground.label),
      device,
      superblock: { ...foundDisk(ground.label).superblock, filesystem: 'ext4' } as const,
    }));
    return mountDisks(
      { disks: new Map([[ground.label, disks]]), refused: [], findings: [], missing: [] },
      path.join(ground.folder, 'disks'),
      { mayUnmount: true },
    ).findings;
  },
  DISK_REMOVABLE: (ground) => found(ground, { ...ground.device, removable: true }),
  DEVICE_UNREADABLE: ({ folder, device }) => {
    // A node without a driver behind it, while a disk is missed.
    execFileSync('mknod', [path.join(folder, 'node'), 'b', '240', '7']);
    return discover(labelFilter({ labels: ['nowhere'], required: [] }), [
      { ...device, path: path.join(folder, 'node'), deviceNumber: '240:7' },
    ]).findings;
  },
  DISK_DIRTY: async (ground) =>
    found(
      ground,
      await copyOf(ground, (file) =>
        execFileSync('debugfs', ['-w', '-R', 'feature needs_recovery', file], { stdio: 'ignore' }),
      ),
    ),
  DISK_TRUNCATED: async (ground) => found(ground, await copyOf(ground, (file) => truncateSync(file, 2 * 1024 * 1024))),
  MOUNT_FAILED: (ground) =>
    mountDisks(
      {
        disks: new Map([['dpl-a', [{ ...foundDisk('dpl-a'), device: { ...ground.device, path: '/dev/null' } }]]]),
        refused: [],
        findings: [],
        missing: [],
      },
      path.join(ground.folder, 'disks'),
      { mayUnmount: true },
    ).findings,
  MOUNT_BUSY: (ground) => {
    mounted(path.join(ground.folder, 'disks', ground.label), 'tmpfs');
    return run(ground);
  },
  SOURCE_INVALID: (ground) => {
    writeFile(path.join(ground.folder, 'file'), '');
    return run(ground, { sources: [path.join(ground.folder, 'file')] });
  },
  SOURCE_WRITABLE: (ground) => run(ground, { sources: [asFolder(ground, { mode: 0o777 })] }),
  SOURCE_LOSSY: (ground) => run(ground, { sources: [asFolder(ground, { samples: [{ path: 'gone' }] })] }),
  SOURCE_UNSUPPORTED: (ground) => {
    const source = asFolder(ground, { samples: [] });
    // An overlay on an overlay is the most that the kernel makes (fs/overlayfs/super.c, FILESYSTEM_MAX_STACK_DEPTH).
    const over = (name: string, lower: string): string => {
      const place = path.join(ground.folder, name);
      mkdirSync(`${place}.empty`);
      mounted(place, 'overlay', ['-o', `lowerdir=${lower}:${place}.empty`]);
      return place;
    };
    return run(ground, { sources: [over('twice', over('once', source))] });
  },
  DISK_LOST: (ground) => {
    // A mount without a block device, as one is whose device was taken away.
    mounted(path.join(ground.folder, 'disks/dpl-lost'), 'ramfs');
    return findLostDisks(path.join(ground.folder, 'disks'), { mayUnmount: false });
  },
  DISK_LAYOUT: (ground) => onDisk(ground, (root) => rmSync(path.join(root, 'overlay2'), { recursive: true })),
  FORMAT_NEWER: (ground) =>
    onDisk(ground, (root) => writeFileSync(path.join(root, 'docker-preloader.json'), '{"formatVersion":"9.0"}')),
  MANIFEST_INVALID: (ground) => onDisk(ground, (root) => writeFileSync(path.join(root, 'docker-preloader.json'), '{')),
  IMAGE_INVALID: (ground) => onDisk(ground, (root) => writeFileSync(metadataPaths(root).image(factsOf(app).id), '{}')),
  IMAGE_INCOMPLETE: (ground) =>
    booted(ground, (guest) =>
      rmSync(metadataPaths(guest.diskPath('dpl-a')).layer(must(factsOf(app).chains[0])), { recursive: true }),
    ),
  LAYER_INVALID: (ground) =>
    onDisk(ground, (root) => writeFileSync(`${metadataPaths(root).layer(must(factsOf(app).chains[0]))}/size`, 'many')),
  REFERENCE_INVALID: (ground) => onDisk(ground, (root) => writeFileSync(metadataPaths(root).repositories, '{')),
  TAG_CONFLICT: (ground) =>
    booted(ground, (guest) => loadImages(guest.dataRoot, [{ layers: ['mine'], references: ['app:1'] }])),
  TAG_REMOVED: (ground) =>
    booted(ground, (guest) => {
      guest.config = { conflicts: 'user', removedImages: 'respect' };
      guest.boot();
      rmSync(metadataPaths(guest.dataRoot).repositories);
    }),
  REMOVED: async (ground) => {
    await run(ground);
    rmSync(metadataPaths(inRoot(ground, '')).image(factsOf(app).id));
    return (await preload(configOf(ground), { wait: false, change: 'never', quiet: true })).findings;
  },
  KEPT: (ground) =>
    booted(ground, (guest) => {
      guest.boot();
      loadImages(guest.dataRoot, [{ layers: [...app.layers, 'mine'], references: ['mine:1'] }]);
      guest.detach('dpl-a');
    }),
  BUILD_CACHE: (ground) =>
    booted(ground, (guest) => {
      guest.boot();
      // A layer that only BuildKit knows of: there is no image for it.
      const cached = factsOf({ layers: [...app.layers, 'cached'] });
      loadImages(guest.dataRoot, [{ layers: [...app.layers, 'cached'], references: ['cached:1'] }]);
      rmSync(metadataPaths(guest.dataRoot).image(cached.id));
      const record = metadataPaths(guest.dataRoot).layer(must(cached.chains[2]));
      const overlay = path.join(guest.dataRoot, 'overlay2');
      renameSync(
        path.join(overlay, readFileSync(`${record}/cache-id`, 'utf8')),
        path.join(overlay, 'abcdefghijklmnopqrstuvwxy'),
      );
      rmSync(record, { recursive: true });
      setReference(guest.dataRoot, 'cached:1', undefined);
      guest.detach('dpl-a');
    }),
  LAYERS_UNLINKED: () => planOf({ disks: [diskOf('dpl-a', [{ layers: ['base'], names: ['app:1'] }])] }).findings,
  RESULT_WRONG: (ground) => {
    const guest = new FakeGuest(ground.folder);
    guest.attach('dpl-a', [app]);
    const planned = guest.boot();
    rmSync(metadataPaths(guest.dataRoot).repositories);
    return checkResult(new Store(guest.dataRoot), planned);
  },
  ARCHIVE_INVALID: ({ folder }) =>
    thrown(async () => {
      writeFileSync(path.join(folder, 'archive.tar'), Buffer.alloc(10_240));
      const archive = await openArchive(path.join(folder, 'archive.tar'), () => path.join(folder, 'spool'));
      await readImages(archive, { platform: machinePlatform(), asked: false });
    }),
  BUILD_FAILED: () => thrown(() => runTool('mke2fs', ['--no-such-option'])),
  TOOL_MISSING: () => thrown(() => withoutPrograms(() => runTool('xz', ['--version']))),
  DISK_INVALID: ({ folder }) =>
    thrown(async () => {
      writeFileSync(path.join(folder, 'disk'), 'no disk');
      await inspectDisk(path.join(folder, 'disk'), { deep: false });
    }),
  STORE_DIFFERS: (ground) => verified(ground, () => undefined),
  STORE_DAMAGED: (ground) =>
    verified(ground, (guest) => {
      guest.boot();
      rmSync(metadataPaths(guest.dataRoot).image(factsOf(app).id));
    }),
  CONTENT_WRONG: ({ folder }) => {
    const root = path.join(folder, 'tree');
    loadImages(root, [app]);
    writeFileSync(
      path.join(root, 'docker-preloader.json'),
      JSON.stringify({
        formatVersion: '1.0',
        createdBy: 'test',
        priority: 0,
        images: [],
        layers: [],
        metadata: { 'image/overlay2/repositories.json': `sha256:${'0'.repeat(64)}` },
      }),
    );
    return metadataFaults({
      mounted: { ...foundDisk('dpl-a'), path: root, adopted: true },
      content: readDisk('dpl-a', new FolderReader(root)),
    });
  },
  NO_SYSTEMD: () => thrown(() => withoutPrograms(() => bootOrder(undefined, {}))),
  DOCUMENT_INVALID: ({ folder }) =>
    thrown(async () => {
      writeFileSync(path.join(folder, 'boot.json'), '{}');
      await bootOrder(path.join(folder, 'boot.json'), {});
    }),
  RECORD_FAILED: () => thrown(() => readAheadListOf([], () => undefined)),
  OUTPUT_FAILED: ({ folder }) =>
    thrown(async () => {
      writeFileSync(path.join(folder, 'boot.json'), JSON.stringify(aDocument()));
      await bootOrder(path.join(folder, 'boot.json'), { svg: path.join(folder, 'nowhere/boot.svg') });
    }),
  INTERNAL: (ground) => {
    // A folder where our lock belongs: nobody has foreseen that.
    mkdirSync(inRoot(ground, 'docker-preloader/lock'), { recursive: true });
    return run(ground);
  },
};
