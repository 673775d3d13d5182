import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, beforeEach, describe, it } from 'node:test';
import { defaultConfig, type Config } from '../../agent/config/config.ts';
import type { FoundDisk } from '../../agent/boot/discover.ts';
import { mountDisks, type Mounts } from '../../agent/boot/mount-disks.ts';
import { findLostDisks } from '../../agent/boot/present-mounts.ts';
import { preload } from '../../agent/boot/preload.ts';
import { sha256 } from '../../agent/docker/ids.ts';
import { statusDocument } from '../../agent/status/status-document.ts';
import type { StatusDocument } from '../../agent/status/schema.ts';
import { mountReadOnly, readMounts, unmount } from '../../agent/system/mount.ts';
import { readSuperblock } from '../../agent/disk/superblock.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { attach, blockDeviceOf } from '../support/loop-device.ts';
import { required } from '../support/required.ts';
import { tempTree } from '../support/temp-tree.ts';
import { loadImages, must, references, type ImageSpec } from './fake-store.ts';

/** Two devices with one label, of which one may be mounted: real filesystems on loop devices, and no dockerd. */
describe('devices with one label', () => {
  let folder = '';
  let label = '';
  let config: Config;
  let count = 0;
  after(cleanUpAll);
  beforeEach(async () => {
    folder = (await tempTree('dpl-twins')).path;
    label = `w${process.pid.toString(36)}-${count++}`;
    const below = (name: string): string => path.join(folder, name);
    config = {
      ...defaultConfig(),
      labels: [`${label}*`],
      deviceTimeoutSec: 0,
      dataRoot: below('docker'),
      dockerConfig: below('daemon.json'),
      mountRoot: below('disks'),
      statusSocket: below('run/s.sock'),
    };
  });

  const app = (text: string): ImageSpec => ({ layers: [text], references: ['app:1'] });
  /**
   * A disk's file.
   * @param priority makes manifests that differ; without one there is none, as on a disk that dockerd has filled
   */
  const makeFile = async (name: string, image: ImageSpec, priority?: number): Promise<string> => {
    const root = path.join(folder, `${name}.d`);
    loadImages(root, [image]);
    if (priority !== undefined)
      writeFileSync(
        path.join(root, 'docker-preloader.json'),
        JSON.stringify({ formatVersion: '1.0', createdBy: 'test', priority, images: [], layers: [], metadata: {} }),
      );
    const file = path.join(folder, name);
    await makeDiskFile(root, file, label);
    return file;
  };
  const attachFile = async (file: string): Promise<FoundDisk> => {
    const { device } = await attach(file);
    return {
      label,
      rank: 0,
      superblock: must(readSuperblock(device)),
      device: blockDeviceOf(device, file),
    };
  };
  const mount = (disks: readonly FoundDisk[], mayUnmount = true, pinned: readonly string[] = []): Mounts =>
    mountDisks({ disks: new Map([[label, disks]]), refused: [], findings: [], missing: [] }, config.mountRoot, {
      mayUnmount,
      pinned: () => pinned,
    });
  const used = ({ disks }: Mounts): string[] => disks.map(({ device }) => device.path);
  const codes = ({ findings }: Pick<StatusDocument, 'findings'> | Mounts): string[] => findings.map(({ code }) => code);
  const run = async (change: 'stopped' | 'never' = 'stopped'): Promise<StatusDocument> =>
    statusDocument(await preload(config, { wait: false, change, quiet: true }), 1);
  const tags = (): string[] => [...references(config.dataRoot ?? '').keys()];
  /** Of looking into others, nothing is left. */
  const noTraceBut = (mounts: number): void =>
    assert.deepEqual(
      [
        readdirSync(config.mountRoot),
        readMounts()
          .filter((one) => path.dirname(one.path) === config.mountRoot)
          .map((one) => path.basename(one.path)),
      ],
      [[label], Array.from({ length: mounts }, () => label)],
    );
  const noTrace = (): void => noTraceBut(1);

  for (const last of [false, true]) {
    it(`of the same content count as one, and the mounted one is the one: ${last ? 'the last' : 'the first'} by name`, async () => {
      const file = await makeFile('disk', app('a'), 1);
      const twins = [await attachFile(file), await attachFile(file)];
      const [mounted, other] = must(last ? twins.toReversed() : twins) as [FoundDisk, FoundDisk];
      assert.deepEqual(used(mount([mounted])), [mounted.device.path]);
      const again = mount(twins);
      assert.deepEqual(
        [used(again), again.disks[0]?.adopted, codes(again)],
        [[mounted.device.path], true, ['DISK_TWICE']],
      );
      assert.deepEqual([again.findings[0]?.device, again.findings[0]?.label], [other.device.path, label]);
      assert.match(
        again.findings[0]?.message ?? '',
        new RegExp(`${other.device.path} is left out: it holds the same as ${mounted.device.path}, which is used$`),
      );
      noTrace();
    });
  }

  it('of the same content are one at a boot, too, and their images stay when the mounted one goes and its twin does not', async () => {
    const file = await makeFile('disk', app('a'), 1);
    const [one, two] = [await attachFile(file), await attachFile(file)];
    const first = await run();
    assert.deepEqual([first.state, codes(first), tags()], ['ok', ['DISK_TWICE'], ['app:1']]);
    const [mounted, other] = first.disks[0]?.device === one.device.path ? [one, two] : [two, one];
    assert.deepEqual(
      first.disks.map(({ device, state, error }) => [device, state, error?.code]),
      [
        [mounted.device.path, 'in-use', undefined],
        [other.device.path, 'refused', 'DISK_TWICE'],
      ],
    );
    assert.match((await run()).summary, /^ok: 1 disk, 1 image, 1 layer, nothing to change, /);
    // What takes a device away leaves it mounted; the twin then is all that is found.
    const gone = must(readMounts().find((one) => one.path === path.join(config.mountRoot, label)));
    assert.deepEqual(used(mount([other], false)), []);
    assert.deepEqual(codes(mount([other], false)), ['MOUNT_BUSY']);
    assert.match(
      mount([other], false).findings[0]?.message ?? '',
      new RegExp(`found device ${gone.deviceNumber}; if the disk was replaced, run: systemctl restart docker$`),
    );
    const replaced = mount([other]);
    assert.deepEqual([used(replaced), codes(replaced), replaced.disks[0]?.adopted], [[other.device.path], [], false]);
    noTrace();
  });

  for (const [is, priorities] of Object.entries({
    'of other content': [1, 2],
    'of content that is not known': [undefined, undefined],
    'without a manifest beside one that has': [1, undefined],
    'with a manifest beside one that has none': [undefined, 1],
  })) {
    it(`${is}: neither is taken at a boot, but one that is mounted stays in use`, async () => {
      const files = [
        await makeFile('one', app('a'), priorities[0]),
        await makeFile('two', app('b'), priorities[1]),
      ] as const;
      const disks = [await attachFile(files[0]), await attachFile(files[1])] as const;
      const fresh = await run();
      assert.deepEqual([fresh.state, codes(fresh), fresh.images], ['degraded', ['LABEL_DUPLICATE'], []]);
      assert.match(fresh.findings[0]?.message ?? '', /; all are left out: detach one, or give it another label$/);
      const { findings } = await preload(
        { ...config, required: required(label) },
        { wait: false, change: 'stopped', quiet: true },
      );
      assert.equal(
        findings.find(({ code }) => code === 'REQUIRED_MISSING')?.message,
        `required disk ${label}: expected a usable disk with this label, found only what is left out (${disks
          .map(({ device }) => device.path)
          .toSorted()
          .join(', ')}), with a finding of its own; mend that, or attach another`,
      );

      for (const [mounted, other] of [disks, disks.toReversed()] as (readonly [FoundDisk, FoundDisk])[]) {
        assert.deepEqual(used(mount([mounted])), [mounted.device.path]);
        for (let restart = 0; restart < 2; restart += 1) {
          const status = await run();
          assert.deepEqual([status.state, codes(status), tags()], ['degraded', ['LABEL_DUPLICATE'], ['app:1']]);
          assert.match(
            status.findings[0]?.message ?? '',
            new RegExp(
              `; ${mounted.device.path}, which is mounted already, stays in use, ${other.device.path} left out:`,
            ),
          );
          assert.deepEqual(
            status.disks.map(({ device, state, error }) => [device, state, error?.code]),
            [
              [mounted.device.path, 'in-use', undefined],
              [other.device.path, 'refused', 'LABEL_DUPLICATE'],
            ],
          );
        }
        noTrace();
        unmount(path.join(config.mountRoot, label));
      }
    });
  }

  it('of which one has the pinned digest: it is meant, whatever is mounted', async () => {
    const files = [await makeFile('one', app('a'), 1), await makeFile('two', app('b'), 2)] as const;
    const disks = [await attachFile(files[0]), await attachFile(files[1])] as const;
    const pins = ['one', 'two'].map((name) =>
      sha256(readFileSync(path.join(folder, `${name}.d/docker-preloader.json`))),
    );
    const unpinned = `sha256:${'0'.repeat(64)}`;
    for (const [index, pin] of pins.entries()) {
      const [right, wrong] = must(index === 0 ? disks : disks.toReversed()) as [FoundDisk, FoundDisk];
      const fresh = mount(disks, true, [pin]);
      assert.deepEqual(
        [used(fresh), fresh.findings.map(({ code, device }) => [code, device])],
        [[right.device.path], [['LABEL_DUPLICATE', wrong.device.path]]],
      );
      assert.match(
        fresh.findings[0]?.message ?? '',
        new RegExp(`; ${right.device.path}, which has the pinned digest, is used, ${wrong.device.path} left out:`),
      );
      // Mounted beside the right one, the wrong one makes room once nothing runs from it.
      unmount(path.join(config.mountRoot, label));
      mount([wrong]);
      assert.deepEqual([used(mount(disks, false, [pin])), used(mount(disks, true, [pin]))], [[], [right.device.path]]);
      // No pin that any of them has, or one for each: as without pins.
      for (const others of [[unpinned], pins]) assert.deepEqual(used(mount(disks, true, others)), [right.device.path]);
      unmount(path.join(config.mountRoot, label));
      for (const others of [[unpinned], pins]) assert.deepEqual(used(mount(disks, true, others)), []);
      noTraceBut(0);
    }
  });

  it('a third of the same content and a fourth of another: each is told of', async () => {
    const [file, another] = [await makeFile('one', app('a'), 1), await makeFile('two', app('b'), 2)];
    const disks = [await attachFile(file), await attachFile(file), await attachFile(another)];
    assert.deepEqual(codes(mount(disks)), ['LABEL_DUPLICATE']);
    mount(disks.slice(1, 2));
    const { findings, disks: taken } = mount(disks);
    assert.deepEqual(
      taken.map(({ device }) => device.path),
      [disks[1]?.device.path],
    );
    assert.deepEqual(
      findings.map(({ code, device }) => [code, device]),
      [
        ['LABEL_DUPLICATE', disks[2]?.device.path],
        ['DISK_TWICE', disks[0]?.device.path],
      ],
    );
  });

  it('are found to be the same while another agent looks at the same time, and after one was killed at it', async () => {
    const file = await makeFile('disk', app('a'), 1);
    const disks = [await attachFile(file), await attachFile(file)];
    const left = path.join(config.mountRoot, '.duplicate-1');
    mkdirSync(left, { recursive: true });
    mountReadOnly(must(disks[0]).device.path, left, 'ext4');
    assert.deepEqual(codes(mount(disks)), ['DISK_TWICE']);
  });

  it('and a run beside this one: what that has mounted since this one looked is used, and not mounted over', async () => {
    const [before, first, second] = [
      await makeFile('before', app('b')),
      await makeFile('one', app('a')),
      await makeFile('two', app('c')),
    ];
    const [replaced, other, disk] = [await attachFile(before), await attachFile(first), await attachFile(second)];
    for (const mounted of [undefined, replaced]) {
      if (mounted !== undefined) mount([mounted]);
      const discovery = {
        disks: new Map([
          [`${label}-other`, [{ ...other, label: `${label}-other` }]],
          [label, [disk]],
        ]),
        refused: [],
        findings: [],
        missing: [],
      };
      const mounts = mountDisks(discovery, config.mountRoot, {
        mayUnmount: true,
        tell: (one) => {
          if (one.label !== label) assert.deepEqual(codes(mount([disk])), []);
        },
      });
      assert.deepEqual(
        [codes(mounts), mounts.disks.map(({ adopted }) => adopted)],
        [[], [mounted !== undefined, true]],
      );
      assert.equal(readMounts().filter((one) => one.path === path.join(config.mountRoot, label)).length, 1);
      unmount(path.join(config.mountRoot, label));
    }
    unmount(path.join(config.mountRoot, `${label}-other`));
  });

  it('make room for each other once the mounted one holds nothing any more', async () => {
    const [first, second] = [await makeFile('one', app('a')), await makeFile('two', app('b'))];
    const [card, other] = [await attachFile(first), await attachFile(second)];
    mount([card]);
    // As a card that is pulled out of its reader: the device stays, of size 0.
    truncateSync(first, 0);
    execFileSync('losetup', ['--set-capacity', card.device.path]);
    assert.deepEqual(
      findLostDisks(config.mountRoot, { mayUnmount: false }).map(({ code }) => code),
      ['DISK_LOST'],
    );
    assert.deepEqual(findLostDisks(config.mountRoot, { mayUnmount: true }), []);
    const status = await run();
    assert.deepEqual(
      [codes(status), status.disks.map(({ device }) => device), tags()],
      [[], [other.device.path], ['app:1']],
    );
  });

  it("make room for each other in a look that makes containerd's links anew, and in no other", async () => {
    const [first, second] = [await makeFile('one', app('a')), await makeFile('two', app('b'))];
    const [card, other] = [await attachFile(first), await attachFile(second)];
    mount([card]);
    truncateSync(first, 0);
    execFileSync('losetup', ['--set-capacity', card.device.path]);
    const look = async (changeContainerd: 'never' | 'farm'): Promise<StatusDocument> => {
      const options = { wait: false, change: 'never', changeContainerd, quiet: true } as const;
      const elsewhere = { store: 'containerd', containerdAddress: path.join(folder, 'none.sock') } as const;
      return statusDocument(await preload({ ...config, ...elsewhere }, options), 1);
    };
    assert.deepEqual(codes(await look('never')), ['DISK_LOST', 'MOUNT_BUSY']);
    const status = await look('farm');
    assert.deepEqual([codes(status), status.disks.map(({ device }) => device)], [[], [other.device.path]]);
  });

  it('are not mounted over what is no disk, whoever has mounted that', async () => {
    const disk = await attachFile(await makeFile('disk', app('a')));
    const place = path.join(config.mountRoot, label);
    mkdirSync(place, { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', place]);
    writeFileSync(path.join(place, 'of-the-user'), '');
    const { findings } = mount([disk]);
    assert.deepEqual(
      findings.map(({ code, message }) => [code, message.replace(/.*; /, '')]),
      [['MOUNT_BUSY', 'unmount it']],
    );
    assert.ok(existsSync(path.join(place, 'of-the-user')));
  });

  it('of which one is held exclusively say so, but not where it is held for a moment', async () => {
    const disk = await attachFile(await makeFile('disk', app('a')));
    const holder = spawn(
      process.execPath,
      [
        '--eval',
        `const { openSync, constants } = require('node:fs'); openSync(${JSON.stringify(disk.device.path)}, constants.O_RDONLY | constants.O_EXCL); console.log(); setTimeout(() => undefined, 60)`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    await once(holder.stdout, 'data');
    assert.deepEqual(codes(mount([disk])), []);
    unmount(path.join(config.mountRoot, label));
    const fd = openSync(disk.device.path, constants.O_RDONLY | constants.O_EXCL);
    const { findings } = mount([disk]);
    closeSync(fd);
    assert.deepEqual(codes({ findings, disks: [] }), ['MOUNT_FAILED']);
    assert.match(
      findings[0]?.message ?? '',
      /^disk \S+ \(\S+\): expected a device that nothing else uses, found one that is held exclusively or mounted writable \(EBUSY\); look at: lsblk \S+; fuser -v \S+$/,
    );
    assert.deepEqual(codes(mount([disk])), []);
  });
});
