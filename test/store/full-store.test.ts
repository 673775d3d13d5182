import assert from 'node:assert/strict';
import { closeSync, ftruncateSync, openSync, readdirSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import { mkdir, truncate } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { roomIn } from '../../agent/overlay2/plan/room.ts';
import { metadataPaths } from '../../agent/docker/layer-db.ts';
import { isENOSPC } from '../../agent/system/errors.ts';
import { factsOf, imageProblems, loadImages, must, references, type ImageSpec } from '../boot/fake-store.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { mountNew } from '../support/filesystem.ts';
import { busyboxRoot } from '../support/images.ts';
import { attach } from '../support/loop-device.ts';
import { tempTree, type TempTree } from '../support/temp-tree.ts';
import { makeSite, type Site } from './site.ts';

type Place = Pick<
  Site,
  'folder' | 'dataRoot' | 'attach' | 'detach' | 'labelOf' | 'configure' | 'agent' | 'apply' | 'status' | 'remove'
> & { readonly start: () => Promise<Dockerd> };

const MB = 1024 * 1024;
const small: ImageSpec = { layers: ['of little'], references: ['small:1'] };
const another: ImageSpec = { layers: ['of little', 'of another'], references: ['another:1'] };

describe('a data root with little room', () => {
  let tree: TempTree;
  let users: Uint8Array;

  before(async () => {
    tree = await tempTree('dpl-full');
    users = await dockerArchive([{ tags: ['mine:1'], layers: [await busyboxRoot()] }]);
  });
  after(cleanUpAll);

  /**
   * Attaches a disk with images whose tar-splits are holes, and one that is as it should be.
   * @param sizeBytes what each claims
   */
  async function attachHoles(place: Place, name: string, images: number, sizeBytes: number): Promise<void> {
    const root = path.join(tree.path, name);
    const specs = Array.from({ length: images }, (_, index): ImageSpec => ({
      layers: [`${name} ${index}`],
      references: [`${name}:${index}`],
    }));
    loadImages(root, [...specs, small], name);
    for (const spec of specs) {
      const record = metadataPaths(root).layer(must(factsOf(spec).chains[0]));
      const fd = openSync(`${record}/tar-split.json.gz`, 'w');
      ftruncateSync(fd, sizeBytes);
      closeSync(fd);
    }
    const file = path.join(place.folder, `${name}.ext4`);
    await makeDiskFile(root, file, place.labelOf('d'));
    // A filesystem claims what its maker likes.
    await truncate(file, 2 * images * sizeBytes);
    await execa('e2fsck', ['-f', '-y', file], { reject: false });
    await execa('resize2fs', [file]);
    await attach(file);
    await place.configure({ labels: [place.labelOf('d')] });
  }

  /** A site whose data root is on a filesystem of its own, with an image of the user's in it. */
  async function placeOf(sizeBytes: number): Promise<Place> {
    const site = await makeSite('28.5');
    const file = path.join(site.folder, 'data.ext4');
    const mountPoint = path.join(site.folder, 'filesystem');
    await mkdir(mountPoint);
    await mountNew(file, sizeBytes, ['mke2fs', '-q', '-t', 'ext4', '-m', '0'], mountPoint);
    const dataRoot = path.join(mountPoint, 'docker');
    const configure: Site['configure'] = (more) => site.configure({ dataRoot, ...more });
    await configure({});
    const place = {
      ...site,
      dataRoot,
      configure,
      start: () => startDockerd({ version: '28.5', dataRoot, folder: site.folder }),
    };
    const dockerd = await place.start();
    await dockerd.cli(['load'], users);
    await dockerd.stop();
    return place;
  }

  /** Fills it up. @param leave how many bytes stay free */
  function fill({ dataRoot }: Place, leave: number): void {
    const free = (): number => {
      const { bfree, blocks, bsize } = statfsSync(dataRoot);
      assert.ok(blocks * bsize < 1000 * MB, 'the filesystem that was made for it');
      return bfree * bsize;
    };
    const fd = openSync(path.join(dataRoot, 'filler'), 'a');
    try {
      for (const piece = Buffer.alloc(64 * 1024, 1); free() > leave;) writeSync(fd, piece);
    } catch (error) {
      // What ext4 keeps for itself counts as free.
      assert.ok(isENOSPC(error), String(error));
    } finally {
      closeSync(fd);
    }
  }

  async function startsWith(place: Place, ...names: readonly string[]): Promise<void> {
    const dockerd = await place.start();
    assert.deepEqual(
      (await dockerd.cli(['images', '--format', '{{.Repository}}:{{.Tag}}'])).split('\n').toSorted(),
      [...names].toSorted(),
    );
    if (roomIn(place.dataRoot).bytes >= 0)
      assert.equal(await dockerd.cli(['run', '--rm', '--network=none', 'mine:1', 'echo', 'runs']), 'runs');
    await dockerd.stop();
  }

  /** No record, nothing of one that was begun, and no file that a run has left. */
  function nothingOf({ dataRoot }: Place, disk: string): void {
    assert.deepEqual(
      [...references(dataRoot).keys()].filter((name) => name.startsWith(disk)),
      [],
    );
    assert.deepEqual(readdirSync(path.join(dataRoot, 'image/overlay2/layerdb/tmp')), []);
  }

  it('of 1 GB takes no tar-split of 1 GiB that is holes, nor any harm', async () => {
    const site = await placeOf(1000 * MB);
    await attachHoles(site, 'gib', 2, 1000 * MB);
    const { all } = await site.apply(3);
    assert.match(all, /tar-split\.json\.gz: of 1048576000 bytes, it takes a layer of at least \d+ files, found fewer/);
    assert.match(all, /image gib:1 is left out: 1 of its 1 layer is missing/);
    nothingOf(site, 'gib');
    await startsWith(site, 'mine:1', 'small:1');
    await site.remove();
  });

  it('takes as many images as fit, says of each other why not, and takes them when there is room', async () => {
    const site = await placeOf(150 * MB);
    fill(site, 60 * MB);
    await attachHoles(site, 'many', 5, 15 * MB);
    const label = site.labelOf('d');
    const first = await site.apply(3);
    const left = new Set(
      [
        ...first.all.matchAll(
          new RegExp(
            `disk ${label}: image many:\\d is left out: expected 15\\.8 MB free in ${site.dataRoot}, found \\d+\\.\\d MB beside what is kept for Docker; free some, then run: systemctl restart docker`,
            'g',
          ),
        ),
      ].map(([line]) => line),
    );
    assert.ok(left.size >= 2 && left.size <= 4, first.all);
    const taken = 5 - left.size;
    assert.equal([...references(site.dataRoot).keys()].filter((name) => name.startsWith('many:')).length, taken);
    assert.deepEqual(imageProblems(site.dataRoot, small), []);
    const { images } = site.status();
    assert.deepEqual(
      images.filter(({ usable }) => !usable).map(({ code }) => code),
      Array.from({ length: left.size }, () => 'STORE_FULL'),
    );
    // plan, verify and the next run agree.
    for (const command of ['plan', 'verify', 'apply']) {
      const { all, exitCode } = await site.agent(command);
      assert.equal(exitCode, 3, `${command}: ${all}`);
      assert.equal(
        new Set(all.match(/image many:\d is left out: expected 15\.8 MB free/g)).size,
        left.size,
        `${command}: ${all}`,
      );
      assert.doesNotMatch(all, /STORE_D|^link layer/m);
    }
    await startsWith(
      site,
      'mine:1',
      'small:1',
      ...[...references(site.dataRoot).keys()].filter((name) => name.startsWith('many:')),
    );

    await execa('rm', [path.join(site.dataRoot, 'filler')]);
    await site.apply();
    assert.equal([...references(site.dataRoot).keys()].filter((name) => name.startsWith('many:')).length, 5);
    await site.remove();
  });

  it('that is full from the start is left alone', async () => {
    const site = await placeOf(60 * MB);
    fill(site, 0);
    // The last blocks, too: not even a folder fits.
    for (let number = 0; ; number += 1) {
      try {
        writeFileSync(path.join(site.dataRoot, `filler-${number}`), 'x');
      } catch (error) {
        assert.ok(isENOSPC(error), String(error));
        break;
      }
    }
    await attachHoles(site, 'late', 1, MB);
    const { all } = await site.apply(3);
    assert.match(all, /docker-preloader: expected a folder, found no room for one: nothing was changed; free some/);
    assert.deepEqual([...references(site.dataRoot).keys()], ['mine:1']);
    await site.remove();
  });

  it('that is full takes what a disk brings no more, and lets go of what went with one', async () => {
    const site = await placeOf(150 * MB);
    const root = path.join(tree.path, 'gone');
    loadImages(root, [small], 'gone');
    await makeDiskFile(root, path.join(tree.path, 'gone.ext4'), 'gone');
    await site.attach(path.join(tree.path, 'gone.ext4'));
    await site.apply();
    fill(site, 0);
    assert.throws(() => writeFileSync(path.join(site.dataRoot, 'more'), Buffer.alloc(64 * 1024, 1)), {
      code: 'ENOSPC',
    });
    await site.detach('gone');
    const next = path.join(tree.path, 'next');
    loadImages(next, [another], 'next');
    await makeDiskFile(next, path.join(tree.path, 'next.ext4'), 'next');
    await site.attach(path.join(tree.path, 'next.ext4'));
    const { all } = await site.apply(3);
    assert.match(
      all,
      /image another:1 is left out: expected \d+ kB free in \S+, found 0 kB beside what is kept for Docker/,
    );
    assert.deepEqual([...references(site.dataRoot).keys()], ['mine:1']);
    await startsWith(site, 'mine:1');
    await site.remove();
  });
});
