import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cp, rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { makeDisk } from '../support/disk.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { busyboxRoot } from '../support/images.ts';
import { attach, copyWithLabel } from '../support/loop-device.ts';
import { tempTree, unmountBelow, type TempTree } from '../support/temp-tree.ts';
import { makeSite, type Site } from './site.ts';

interface MadeDisk {
  readonly file: string;
  readonly digest: string;
  /** Of the first image, without the algorithm, and its top layer. */
  readonly id: string;
  readonly top: string;
}

describe('a disk with a pinned digest', () => {
  let tree: TempTree;
  let right: MadeDisk;
  let wrong: MadeDisk;

  before(async () => {
    await ensureDebianPackages(['e2fsprogs'], { install: true });
    tree = await tempTree('dpl-pinned');
    right = await diskOf('right', 'right\n');
    wrong = await diskOf('wrong', 'wrong\n');
  });
  after(cleanUpAll);

  /** Both have an image `app:1`. */
  async function diskOf(name: string, content: string): Promise<MadeDisk> {
    const archive = await dockerArchive([
      { tags: ['app:1', `${name}:1`], layers: [await busyboxRoot(), [{ name: 'file', content }]] },
    ]);
    const file = await makeDisk(path.join(tree.path, `${name}.ext4`), archive, '--label', 'pinned');
    const { stdout } = await agent(['inspect', '--json', file]);
    const { manifest, images } = JSON.parse(stdout) as {
      manifest: { digest: string };
      images: { id: string; layers: string[] }[];
    };
    return {
      file,
      digest: manifest.digest,
      id: images[0]?.id.slice('sha256:'.length) ?? '',
      top: images[0]?.layers.at(-1)?.slice('sha256:'.length) ?? '',
    };
  }

  /** A copy of the right disk in which one file has other bytes. */
  async function tampered(name: string, file: string, change: (bytes: Buffer) => Buffer): Promise<string> {
    const disk = path.join(tree.path, `${name}.ext4`);
    await cp(right.file, disk);
    const content = path.join(tree.path, `${name}.file`);
    await execa('debugfs', ['-R', `dump /${file} ${content}`, disk]);
    writeFileSync(content, change(readFileSync(content)));
    await execa('debugfs', ['-w', '-f', '-', disk], { input: `rm /${file}\nwrite ${content} /${file}\n` });
    return disk;
  }

  const flipLast = (bytes: Buffer): Buffer =>
    bytes.map((byte, index) => (index === bytes.length - 1 ? byte ^ 1 : byte)) as Buffer;
  const named = ({ dataRoot }: Site): string => {
    const file = path.join(dataRoot, 'image/overlay2/repositories.json');
    return existsSync(file) ? readFileSync(file, 'utf8') : 'none';
  };
  const isMounted = ({ mountRoot }: Site, label: string): boolean =>
    readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${mountRoot}/${label} `);

  /** `apply`, `plan` and `verify` say the same, and the status shows the disk as refused. */
  async function refused(site: Site, name: string, says: RegExp): Promise<void> {
    const label = site.labelOf(name);
    for (const command of ['apply', 'plan', 'verify']) {
      const { exitCode, all } = await site.agent(command);
      assert.equal(exitCode, 1, `${command}: ${all}`);
      assert.match(all, says, command);
      assert.doesNotMatch(all, /REQUIRED_MISSING|link layer|STORE_DIFFERS|STORE_DAMAGED/, command);
      assert.equal(isMounted(site, label), false, command);
    }
    const { state, disks } = site.status();
    assert.equal(state, 'failed');
    assert.deepEqual(
      disks.filter((disk) => disk.label === label).map((disk) => [disk.state, disk.error?.code]),
      [['refused', 'DISK_CONTENT']],
    );
  }

  it('is left out where it has another one: Docker has none of its images', async () => {
    const site = await makeSite('28.5');
    await site.attach(wrong.file, 'd');
    await site.configure({ required: [`${site.labelOf('d')}@${right.digest}`] });
    await refused(
      site,
      'd',
      new RegExp(
        `disk ${site.labelOf('d')} \\(/dev/loop\\d+\\) is left out: expected a manifest with digest ${right.digest}, found ${wrong.digest}`,
      ),
    );
    const dockerd = await site.start();
    assert.equal(await dockerd.cli(['images', '--quiet']), '');
    await dockerd.stop();
    await site.remove();
  });

  it('is left out where dockerd has filled it, and it has no manifest', async () => {
    const site = await makeSite('28.5');
    const disk = path.join(tree.path, 'bare.ext4');
    await cp(right.file, disk);
    await execa('debugfs', ['-w', '-R', 'rm /docker-preloader.json', disk]);
    await site.attach(disk, 'd');
    await site.configure({ required: [`${site.labelOf('d')}@${right.digest}`] });
    await refused(site, 'd', /expected a manifest with digest sha256:[0-9a-f]{64}, found none/);
    await site.remove();
  });

  it('whose manifest is not valid has not that digest either, and nothing runs from it', async () => {
    const site = await makeSite('28.5');
    await site.attach(await tampered('garbage', 'docker-preloader.json', () => Buffer.from('{')), 'd');
    await site.configure({ required: [`${site.labelOf('d')}@${right.digest}`] });
    await refused(site, 'd', /expected a manifest with digest sha256:[0-9a-f]{64}, found sha256:/);
    await site.remove();
  });

  it('with another tar-split is left out where the store has the right one from an earlier boot, and the other way round', async () => {
    const site = await makeSite('28.5');
    const tarSplit = `image/overlay2/layerdb/sha256/${right.top}/tar-split.json.gz`;
    const stored = path.join(site.dataRoot, tarSplit);
    await site.attach(right.file, 'd');
    await site.configure({ required: [`${site.labelOf('d')}@${right.digest}`] });
    // The first run of a boot syncs, and what has reached the disk is compared by size alone where nothing is pinned.
    await site.apply();
    const bytes = readFileSync(stored);
    await site.detach('d');
    await site.attach(await tampered('later', tarSplit, flipLast), 'd');
    await refused(site, 'd', /tar-split\.json\.gz: expected content with digest/);
    assert.equal(existsSync(stored), false);

    await site.detach('d');
    await site.attach(right.file, 'd');
    await rm(path.join(site.folder, 'status'), { recursive: true });
    await site.apply();
    writeFileSync(stored, flipLast(bytes));
    await site.apply();
    assert.deepEqual(readFileSync(stored), bytes);
    await site.remove();
  });

  for (const what of ['repositories.json', 'tar-split.json.gz']) {
    it(`is used where its twin has another ${what}, whichever comes first`, async () => {
      const file =
        what === 'repositories.json' ? `image/overlay2/${what}` : `image/overlay2/layerdb/sha256/${right.top}/${what}`;
      const other = await tampered(`twin-${what}`, file, (bytes) =>
        what === 'repositories.json' ? Buffer.from(bytes.toString().replaceAll('right', 'other')) : flipLast(bytes),
      );
      for (const disks of [
        [other, right.file],
        [right.file, other],
      ] as (readonly [string, string])[]) {
        const site = await makeSite('28.5');
        await site.attach(disks[0], 'd');
        const twin = path.join(site.folder, 'twin.ext4');
        await copyWithLabel(disks[1], twin, site.labelOf('d'));
        const { detach } = await attach(twin, { copy: true });
        await site.configure({ required: [`${site.labelOf('d')}@${right.digest}`] });
        const { all } = await site.apply(3);
        assert.match(all, /, which has the pinned digest, is used, /);
        assert.match(named(site), /"right:1"/);
        await unmountBelow(site.mountRoot);
        await detach();
        await site.remove();
      }
    });
  }

  it('runs its own layers, and not what another disk calls by the same digests', async () => {
    const site = await makeSite('28.5');
    const other = path.join(tree.path, 'same-digests.ext4');
    await cp(right.file, other);
    const { stdout: cacheId } = await execa('debugfs', [
      '-R',
      `cat /image/overlay2/layerdb/sha256/${right.top}/cache-id`,
      other,
    ]);
    const file = `/overlay2/${cacheId.trim()}/diff/file`;
    writeFileSync(path.join(tree.path, 'strange'), 'strange\n');
    // It also says that the image was built from another one.
    const metadata = `/image/overlay2/imagedb/metadata/sha256/${right.id}`;
    writeFileSync(path.join(tree.path, 'parent'), `sha256:${'a'.repeat(64)}`);
    await execa('debugfs', ['-w', '-f', '-', other], {
      input: `rm ${file}\nwrite ${path.join(tree.path, 'strange')} ${file}\nmkdir ${path.dirname(path.dirname(metadata))}\nmkdir ${path.dirname(metadata)}\nmkdir ${metadata}\nwrite ${path.join(tree.path, 'parent')} ${metadata}/parent\n`,
    });
    await site.attach(right.file, 'd');
    // It takes precedence, and was there first.
    await site.attach(other, 'z');
    await site.apply();
    const parent = path.join(site.dataRoot, `image/overlay2/imagedb/metadata/sha256/${right.id}/parent`);
    assert.equal(existsSync(parent), true);
    await site.configure({ required: [`${site.labelOf('d')}@${right.digest}`] });
    await site.apply();
    const dockerd = await site.start();
    assert.equal(await dockerd.cli(['run', '--rm', '--network=none', 'right:1', 'cat', '/file']), 'right');
    await dockerd.stop();
    await site.agent('unlink');
    await site.apply();
    assert.equal(existsSync(parent), false);
    await site.remove();
  });

  it('in whose place another comes takes its images along, and what a container stands on leads not to the other', async () => {
    const site = await makeSite('28.5');
    await site.attach(right.file, 'd');
    await site.configure({ required: [`${site.labelOf('d')}@${right.digest}`] });
    await site.apply();
    const first = await site.start();
    assert.equal(await first.cli(['run', '--rm', '--network=none', 'app:1', 'cat', '/file']), 'right');
    await first.cli(['create', '--name', 'mine', '--network=none', 'app:1', 'cat', '/file']);
    await first.stop();

    await site.detach('d');
    const other = await tampered('other', 'docker-preloader.json', (bytes) =>
      Buffer.from(bytes.toString().replace('"priority": 0', '"priority": 7')),
    );
    await site.attach(other, 'd');
    await refused(site, 'd', /is left out: expected a manifest with digest/);
    assert.doesNotMatch(named(site), /app:1/);
    const second = await site.start();
    assert.equal(await second.cli(['ps', '--all', '--format', '{{.Names}}']), 'mine');
    // The other disk has the same layer at the same place.
    await assert.rejects(second.cli(['start', '--attach', 'mine']));
    await second.stop();
    await site.remove();
  });

  it('by a glob counts for each disk that the glob means, but not for one that is pinned by its name', async () => {
    const site = await makeSite('28.5');
    await site.attach(right.file, 'd1');
    await site.attach(wrong.file, 'd2');
    await site.configure({ required: [`${site.labelOf('d*')}@${right.digest}`] });
    await refused(site, 'd2', /is left out: expected a manifest with digest/);
    assert.match(named(site), /"right:1"/);
    assert.doesNotMatch(named(site), /"wrong:1"/);
    await site.configure({
      required: [`${site.labelOf('d*')}@${right.digest}`, `${site.labelOf('d2')}@${wrong.digest}`],
    });
    await site.apply();
    assert.match(named(site), /"right:1".*"wrong:1"/);
    await site.remove();
  });

  for (const { what, file, change, says } of [
    {
      what: 'a tar-split',
      file: () => `image/overlay2/layerdb/sha256/${right.top}/tar-split.json.gz`,
      change: flipLast,
      says: /tar-split\.json\.gz: expected content with digest sha256:[0-9a-f]{64}, as the manifest has it, found sha256:/,
    },
    {
      what: 'repositories.json',
      file: () => 'image/overlay2/repositories.json',
      change: (bytes: Buffer) => Buffer.from(bytes.toString().replaceAll('right', 'other')),
      says: /repositories\.json: expected content with digest/,
    },
  ]) {
    it(`and ${what} that is not what the manifest says is left out, with all that was begun of it`, async () => {
      const disk = await tampered(path.basename(file()), file(), change);
      const site = await makeSite('28.5');
      await site.attach(disk, 'd');
      await site.attach(wrong.file, 'u');
      await site.configure({ required: [`${site.labelOf('d')}@${right.digest}`] });
      await refused(site, 'd', says);
      assert.match(named(site), /"wrong:1"/);
      assert.doesNotMatch(named(site), /"right:1"|"other:1"/);
      assert.equal(existsSync(path.join(site.dataRoot, 'image/overlay2/layerdb/sha256', right.top)), false);
      // Without the pin, any content will do.
      await site.configure({});
      await site.apply();
      await site.remove();
    });
  }
});
