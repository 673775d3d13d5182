import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, beforeEach, describe, it } from 'node:test';
import { preload } from '../../agent/boot/preload.ts';
import { unlinkStores } from '../../agent/boot/unlink-stores.ts';
import { defaultConfig, type Config } from '../../agent/config/config.ts';
import type { Sample } from '../../agent/disk/manifest.ts';
import { sha256 } from '../../agent/docker/ids.ts';
import type { StatusDocument } from '../../agent/status/schema.ts';
import { statusDocument } from '../../agent/status/status-document.ts';
import { readMounts } from '../../agent/system/mount.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { attach } from '../support/loop-device.ts';
import { required } from '../support/required.ts';
import { tempTree } from '../support/temp-tree.ts';
import { runDockerd } from './fake-guest.ts';
import { loadImages, must, references, type ImageSpec } from './fake-store.ts';

/** Folders in the place of disks: real mounts, and no dockerd. */
describe('folders as sources', () => {
  let folder = '';
  let config: Config;
  let label = '';
  let count = 0;
  after(cleanUpAll);
  beforeEach(async () => {
    folder = (await tempTree('dpl-sources')).path;
    label = `s${process.pid.toString(36)}-${count++}`;
    config = {
      ...defaultConfig(),
      labels: [`${label}*`],
      sources: [below('disks/*')],
      deviceTimeoutSec: 0,
      dataRoot: below('docker'),
      dockerConfig: below('daemon.json'),
      mountRoot: below('mounts'),
      statusSocket: below('run/s.sock'),
    };
    mkdirSync(below('disks'));
  });

  const below = (name: string): string => path.join(folder, name);
  const shell = (script: string): string => execFileSync('sh', ['-ec', script], { cwd: folder, encoding: 'utf8' });
  const app = (name: string): ImageSpec => ({ layers: [`of ${name}`], references: [`${name}:1`] });
  const manifestOf = (more: object): string =>
    JSON.stringify({ formatVersion: '1.1', createdBy: 'test', images: [], layers: [], metadata: {}, ...more });
  /** Makes what a disk has. @param samples what `build` says is to come through; without, there is no manifest */
  const fill = (place: string, image: ImageSpec, samples?: readonly Sample[]): string => {
    const root = below(place);
    loadImages(root, [image]);
    chmodSync(root, 0o700);
    if (samples !== undefined) writeFileSync(path.join(root, 'docker-preloader.json'), manifestOf({ samples }));
    return root;
  };
  /** Writes a manifest that lists each file, as that of a disk that can be pinned. @returns its digest */
  const listAll = (root: string): string => {
    const files = shell(`cd "${root}" && find image -type f`).trim().split('\n');
    const metadata = Object.fromEntries(files.map((file) => [file, sha256(readFileSync(path.join(root, file)))]));
    const text = manifestOf({ samples: [], metadata });
    writeFileSync(path.join(root, 'docker-preloader.json'), text);
    return sha256(text);
  };
  const run = async (change: 'stopped' | 'never' = 'stopped', how = config): Promise<StatusDocument> =>
    statusDocument(await preload(how, { wait: false, change, quiet: true }), 1);
  const codes = ({ findings }: StatusDocument): string[] => findings.map(({ code }) => code);
  const says = ({ findings }: StatusDocument): string => findings.map(({ message }) => message).join('\n');
  const tags = (): string[] => [...references(config.dataRoot ?? '').keys()].toSorted();
  const mountAt = (name: string): ReturnType<typeof readMounts>[number] | undefined =>
    readMounts().findLast((mount) => mount.path === path.join(config.mountRoot, name));
  /** Only what is mounted for good is below the mount root. */
  const noTraceBut = (...names: readonly string[]): void => {
    assert.deepEqual(readdirSync(config.mountRoot).toSorted(), names.toSorted());
    assert.deepEqual(
      readMounts()
        .filter((mount) => path.dirname(mount.path) === config.mountRoot)
        .map((mount) => path.basename(mount.path))
        .toSorted(),
      names.toSorted(),
    );
  };

  it('are mounted read-only below the mount root, and their images are in the store', async () => {
    const root = fill('disks/baked', app('baked'));
    const status = await run();
    assert.deepEqual([status.state, codes(status), tags()], ['ok', [], ['baked:1']]);
    const [disk] = status.disks;
    assert.deepEqual(
      [disk?.label, disk?.device, disk?.state, disk?.mountPoint, disk?.adopted],
      ['baked', root, 'in-use', path.join(config.mountRoot, 'baked'), false],
    );
    const { options } = must(mountAt('baked'));
    assert.ok(
      ['ro', 'nosuid', 'nodev', 'noexec'].every((option) => options.includes(option)),
      options.join(),
    );
    assert.throws(() => writeFileSync(path.join(config.mountRoot, 'baked/x'), ''), /EROFS/);
    assert.equal(readFileSync(shell(`ls -d ${below('docker')}/overlay2/*/diff/file`).trim(), 'utf8'), 'of baked');
    const again = await run();
    assert.deepEqual([again.state, again.changes, again.disks[0]?.adopted], ['ok', 0, true]);
    noTraceBut('baked');
  });

  it('are unmounted by unlink, and leave nothing', async () => {
    fill('disks/baked', app('baked'));
    await run();
    const { findings } = await unlinkStores(config);
    assert.deepEqual(findings, []);
    noTraceBut();
    assert.equal(existsSync(below('docker/overlay2/l')) && readdirSync(below('docker/overlay2')).length > 1, false);
    assert.ok(existsSync(below('disks/baked/overlay2')));
  });

  it('leave the store with their folder', async () => {
    const root = fill('disks/baked', app('baked'));
    await run();
    rmSync(root, { recursive: true });
    const { disks } = await run();
    assert.deepEqual([tags(), disks], [[], []]);
  });

  it('that a glob matches are those that can be disks; each other one is named, whatever its name', async () => {
    fill('disks/good', app('good'));
    for (const name of ['disks/.hidden', 'disks/lost+found', 'disks/empty']) mkdirSync(below(name));
    writeFileSync(below('disks/README'), '');
    for (const name of ['a b', 'x\ny', '..x', '-x', 'n'.repeat(17), `${'é'.repeat(100)}`, '\u202Ex', "';reboot"])
      mkdirSync(below(`disks/${name}`));
    shell(String.raw`mkdir "disks/$(printf 'b\377d')"`);
    symlinkSync(below('disks/good'), below('disks/link'));
    const status = await run();
    assert.deepEqual(tags(), ['good:1']);
    const found = Object.groupBy(status.findings, ({ code }) => code);
    assert.deepEqual(Object.keys(found).toSorted(), ['DISK_LAYOUT', 'LABEL_INVALID', 'SOURCE_INVALID']);
    assert.equal(found['LABEL_INVALID']?.length, 8);
    assert.match(
      found['SOURCE_INVALID']?.[0]?.message ?? '',
      /disks\/link: expected a folder, found a symlink to one; name that; it is left out$/,
    );
    assert.ok(
      !/[\n\u202e]/.test(
        JSON.stringify(status.findings.map(({ message, device }) => [message, device])).replaceAll(
          String.raw`\n`,
          '\n',
        ),
      ),
    );
    noTraceBut('empty', 'good');
  });

  it('are at most so many that a glob matches', async () => {
    for (let number = 0; number < 300; number += 1) mkdirSync(below(`disks/d${number}`));
    const status = await run();
    assert.equal(status.findings.filter(({ code }) => code === 'SOURCE_INVALID').length, 1);
    assert.match(says(status), /disks\/\*: expected at most 256 folders, found 300/);
    assert.equal(status.disks.length, 256);
  });

  it('may not be symlinks, files, the store, the mount root, nor what has one of these in it', async () => {
    fill('disks/good', app('good'));
    symlinkSync(below('disks/good'), below('link'));
    writeFileSync(below('file'), '');
    fill('docker', app('mine'));
    mkdirSync(below('docker/inner'));
    mkdirSync(below('mounts'));
    const sources = ['link', 'file', 'docker', 'docker/inner', 'mounts', ''].map(below);
    const status = await run('stopped', { ...config, sources });
    assert.deepEqual(
      codes(status),
      Array.from({ length: 6 }, () => 'SOURCE_INVALID')
        .concat(
          // The folder of the test is the one whose name is too long for a label.
        )
        .with(5, 'LABEL_INVALID'),
    );
    assert.equal(
      (await run('stopped', { ...config, sources: [path.dirname(folder)] })).findings[0]?.code,
      'SOURCE_INVALID',
    );
    assert.deepEqual(tags(), ['mine:1']);
  });

  it('may lie behind a symlink', async () => {
    fill('disks/good', app('good'));
    symlinkSync('disks', below('current'));
    assert.deepEqual(codes(await run('stopped', { ...config, sources: [below('current/good')] })), []);
    assert.deepEqual(tags(), ['good:1']);
    assert.deepEqual(
      codes(await run('stopped', { ...config, sources: [below('current/*'), below('disks/good')] })),
      [],
    );
    noTraceBut('good');
  });

  describe('that others than root can reach', () => {
    const why: [string, () => void, RegExp][] = [
      ['belong to another user', () => chownSync(below('disks/d'), 1000, 0), /with owner 1000 and mode 700/],
      ['can be written by a group', () => chmodSync(below('disks/d'), 0o770), /with owner 0 and mode 770/],
      ['lie in what others can write', () => chmodSync(below('disks'), 0o777), /disks with owner 0 and mode 777/],
      [
        'can be entered',
        () => {
          chmodSync(folder, 0o755);
          chmodSync(below('disks'), 0o755);
          chmodSync(below('disks/d'), 0o755);
        },
        /expected a folder that is mounted read-only or that root alone can enter.*chmod 700/,
      ],
    ];
    for (const [what, change, expected] of why)
      it(`are left out where they ${what}, but not where they are mounted read-only`, async () => {
        fill('disks/d', app('d'));
        change();
        const status = await run();
        assert.deepEqual([codes(status), tags(), status.disks[0]?.state], [['SOURCE_WRITABLE'], [], 'refused']);
        assert.match(says(status), expected);
        mkdirSync(below('ro'));
        shell('mount --bind disks ro && mount -o remount,bind,ro ro');
        const readOnly = await run('stopped', { ...config, sources: [below('ro/d')] });
        assert.deepEqual([codes(readOnly), tags()], [[], ['d:1']]);
      });
  });

  it('that are replaced while Docker runs stay as they were until it is restarted', async () => {
    const root = fill('disks/d', app('old'));
    await run();
    renameSync(root, below('disks-old'));
    fill('disks/d', app('new'));
    const dockerd = runDockerd(config.dataRoot ?? '');
    const meanwhile = await run();
    assert.deepEqual([codes(meanwhile), tags()], [['MOUNT_BUSY', 'DOCKER_RUNNING'], ['old:1']]);
    dockerd.stop();
    assert.deepEqual([codes(await run()), tags()], [[], ['new:1']]);
    noTraceBut('d');
  });

  it('that are removed while Docker runs are lost', async () => {
    const root = fill('disks/d', app('old'));
    await run();
    rmSync(root, { recursive: true });
    const dockerd = runDockerd(config.dataRoot ?? '');
    const meanwhile = await run();
    assert.deepEqual([codes(meanwhile)[0], tags()], ['DISK_LOST', ['old:1']]);
    assert.match(says(meanwhile), /disk d: lost: its folder was taken away/);
    fill('disks/d', app('new'));
    assert.deepEqual(codes(await run()).slice(0, 2), ['DISK_LOST', 'MOUNT_BUSY']);
    dockerd.stop();
    assert.deepEqual([codes(await run()), tags()], [[], ['new:1']]);
  });

  it('that give way to a device, or take its place, do so when Docker starts', async () => {
    fill(`disks/${label}`, app('folder'));
    await run();
    rmSync(below(`disks/${label}`), { recursive: true });
    loadImages(below('device'), [app('device')]);
    await makeDiskFile(below('device'), below('file'), label);
    const { device } = await attach(below('file'));
    assert.deepEqual([codes(await run()), tags()], [[], ['device:1']]);
    assert.equal(must(mountAt(label)).source, device);
  });

  it('are without what is mounted below them', async () => {
    const root = fill('disks/d', app('d'));
    shell(`mount -t tmpfs tmpfs "${root}/overlay2"`);
    const status = await run();
    assert.deepEqual([codes(status), tags()], [[], ['d:1']]);
    assert.equal(readMounts().filter((mount) => mount.path.startsWith(config.mountRoot)).length, 1);
  });

  it('are on any filesystem that shows what the disk had', async () => {
    shell('mkdir mem && mount -t tmpfs -o mode=700 tmpfs mem');
    fill('mem/d', app('d'), []);
    const there = await run('stopped', { ...config, sources: [below('mem/d')] });
    assert.deepEqual([codes(there), tags(), there.disks[0]?.filesystem], [[], ['d:1'], 'tmpfs']);
  });

  /** An overlay, as a container has one for its root, with what was in its lower folder. */
  const asLower = (): string => {
    shell('mkdir merged upper work && mount -t overlay overlay -o lowerdir=disks,upperdir=upper,workdir=work merged');
    return below('merged/d');
  };
  const diff = (): string => shell('cd disks/d && ls -d overlay2/*/diff').trim();

  it('are refused where a whiteout does not come through', async () => {
    fill('disks/d', app('d'));
    shell(`mknod disks/d/${diff()}/gone c 0 0`);
    writeFileSync(below('disks/d/docker-preloader.json'), manifestOf({ samples: [{ path: `${diff()}/gone` }] }));
    assert.deepEqual(codes(await run()), []);
    const status = await run('stopped', { ...config, sources: [asLower()] });
    assert.deepEqual(
      [codes(status), status.disks.map(({ state }) => state)],
      [['MOUNT_BUSY'], ['refused']].with(0, codes(status)),
    );
    assert.ok(codes(status).includes('SOURCE_LOSSY'), says(status));
    assert.match(
      says(status),
      /gone: expected a file, found none on overlay; copy the disk's files with cp -a as root/,
    );
    assert.deepEqual(tags(), []);
  });

  const lost: [string, string, (at: string) => Omit<Sample, 'path'>, RegExp][] = [
    [
      'an opaque folder',
      'mkdir x && setfattr -n trusted.overlay.opaque -v y x',
      () => ({ xattr: 'trusted.overlay.opaque' }),
      /trusted.overlay.opaque, found none/,
    ],
    [
      'a whiteout',
      'mknod x c 0 0',
      () => ({}),
      /expected a whiteout, which is a character device 0:0, found another file/,
    ],
    ['an owner', 'touch x && chown 7:8 x', () => ({ owner: '7:8' }), /expected owner 7:8, found 0:0/],
    ['a user attribute', 'touch x && setfattr -n user.a -v b x', () => ({ xattr: 'user.a' }), /user.a, found none/],
  ];
  for (const [what, make, sample, expected] of lost)
    it(`are refused where ${what} got lost on the way`, async () => {
      fill('disks/d', app('d'));
      shell(`cd disks/d/${diff()} && ${make}`);
      writeFileSync(
        below('disks/d/docker-preloader.json'),
        manifestOf({ samples: [{ path: `${diff()}/x`, ...sample(diff()) }] }),
      );
      assert.deepEqual([codes(await run()), tags()], [[], ['d:1']]);
      shell(`cd disks/d/${diff()} && rm -rf x && touch x`);
      await unlinkStores(config);
      const status = await run();
      assert.deepEqual([codes(status), tags()], [['SOURCE_LOSSY'], []]);
      assert.match(says(status), expected);
    });

  it('that do not say what is to come through are taken from filesystems of this machine alone', async () => {
    fill('disks/d', app('d'));
    const status = await run('stopped', { ...config, sources: [asLower()] });
    assert.deepEqual(codes(status), ['SOURCE_LOSSY']);
    assert.match(says(status), /expected a disk that says what is to come through overlay.*build it again$/);
  });

  it('are taken from an overlay where nothing is lost, and refused where the kernel mounts none on that', async () => {
    fill('disks/d', app('d'), []);
    const merged = asLower();
    const once = await run('stopped', { ...config, sources: [merged] });
    assert.deepEqual([codes(once), tags()], [[], ['d:1']]);
    await unlinkStores(config);
    shell('mkdir m2 u2 w2 && mount -t overlay overlay -o lowerdir=merged:upper m2');
    const twice = await run('stopped', { ...config, sources: [below('m2/d')] });
    assert.deepEqual([codes(twice), tags()], [['SOURCE_UNSUPPORTED'], []]);
    noTraceBut('d');
  });

  it('of one label count as one where they hold the same, and as none where not', async () => {
    fill('disks/d', app('d'), []);
    shell('cp -a disks other');
    const sources = [below('disks/d'), below('other/d')];
    const same = await run('stopped', { ...config, sources });
    assert.deepEqual([codes(same), tags()], [['DISK_TWICE'], ['d:1']]);
    await unlinkStores(config);
    const pin = listAll(below('other/d'));
    const different = await run('stopped', { ...config, sources });
    assert.deepEqual([codes(different), tags()], [['LABEL_DUPLICATE'], []]);
    assert.match(says(different), new RegExp(`found ${sources.join(', ')} with different or unknown content`));
    const pinned = {
      ...config,
      sources,
      required: required(`d@${pin}`),
    };
    const chosen = await run('stopped', pinned);
    assert.deepEqual([codes(chosen), tags()], [['LABEL_DUPLICATE'], ['d:1']]);
    assert.match(says(chosen), /other\/d, which has the pinned digest, is used/);
    assert.match(says(await run('stopped', pinned)), /other\/d, which is mounted already, stays in use/);
    noTraceBut('d');
  });

  it('and devices of one label are told apart in the same way', async () => {
    const root = fill(`disks/${label}`, app('d'), []);
    await makeDiskFile(root, below('file'), label);
    await attach(below('file'));
    const same = await run();
    assert.deepEqual([codes(same), tags()], [['DISK_TWICE'], ['d:1']]);
  });

  it('have the place of their label among `labels`, and otherwise one below all of these', async () => {
    const tagged = (name: string): ImageSpec => ({ layers: [name], references: ['app:1'] });
    for (const name of ['a', 'b']) fill(`disks/${name}`, tagged(name), []);
    loadImages(below('device'), [tagged('device')]);
    await makeDiskFile(below('device'), below('file'), label);
    await attach(below('file'));
    const winner = async (labels: readonly string[], sources: readonly string[]): Promise<string | null | undefined> =>
      (
        await run('stopped', { ...config, labels, sources: sources.map((name) => below(`disks/${name}`)) })
      ).conflicts.at(-1)?.winner;
    assert.equal(await winner([label], ['a', 'b']), label);
    assert.equal(await winner([], ['a', 'b']), 'b');
    assert.equal(await winner([], ['b', 'a']), 'a');
    assert.equal(await winner([label, 'a'], ['a', 'b']), 'a');
  });

  it('are awaited where they are named, and reported where they do not come', async () => {
    const sources = [below('disks/late'), below('nowhere/*')];
    const missing = await run('stopped', { ...config, sources });
    assert.deepEqual([missing.state, codes(missing)], ['degraded', ['DISK_MISSING']]);
    assert.match(
      says(missing),
      /source \S+\/disks\/late: expected it within 0 s, found none; mount or share it, or take it out of `sources`/,
    );
    assert.deepEqual(
      missing.disks.map((disk) => [disk.label, disk.state]),
      [['late', 'missing']],
    );
    const timer = setTimeout(() => fill('disks/late', app('late')), 100);
    const came = statusDocument(
      await preload({ ...config, sources, deviceTimeoutSec: 60 }, { wait: true, change: 'stopped', quiet: true }),
      1,
    );
    clearTimeout(timer);
    assert.deepEqual([codes(came), tags()], [[], ['late:1']]);
    assert.ok(came.timings.some(({ waitedFor }) => waitedFor === `disk ${sources[0]}`));
  });

  it('are held to what `required` says of their label', async () => {
    fill('disks/d', app('d'), []);
    const digest = listAll(below('disks/d'));
    const right = await run('stopped', { ...config, required: required('d', `d@${digest}`) });
    assert.deepEqual([right.state, codes(right), tags()], ['ok', [], ['d:1']]);
    const wrong = await run('stopped', { ...config, required: required(`d@sha256:${'0'.repeat(64)}`) });
    assert.deepEqual([wrong.state, codes(wrong), tags()], ['failed', ['DISK_CONTENT'], []]);
    assert.equal(mountAt('d'), undefined);
    writeFileSync(below('disks/d/docker-preloader.json'), manifestOf({ samples: [], priority: 2 }));
    const changed = await run('stopped', { ...config, required: required(`d@${digest}`) });
    assert.deepEqual(codes(changed), ['DISK_CONTENT']);
  });

  it('under a tag that is not there, or on a kernel without such a filesystem, are named', async () => {
    for (const tag of ['virtiofs:nowhere', '9p:nowhere']) {
      const status = await run('stopped', { ...config, sources: [tag] });
      assert.equal(status.findings.length, 1, says(status));
      assert.match(
        `${codes(status).join()} ${says(status)}`,
        /^(?:DISK_MISSING source \S+: expected it within 0 s|SOURCE_UNSUPPORTED source \S+: expected a kernel that can mount)/,
      );
      assert.equal(status.disks[0]?.label, 'nowhere');
      noTraceBut();
    }
  });
});
