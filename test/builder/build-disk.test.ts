import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { execa } from 'execa';
import type { Inspection } from '../../agent/verify/inspect-disk.ts';
import { agent, agentCommand } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { tempTree, type TempTree } from '../support/temp-tree.ts';
import { digestOf, imageConfig, ociLayout, savedArchive, tarOf, type ArchiveImage } from './archive/archives.ts';
import { makeTar } from './tar/make-tar.ts';
import { oddImages } from './layer/odd-layers.ts';
import { treeFacts } from './tree-facts.ts';

describe('build and inspect', () => {
  let tree: TempTree;
  let images: readonly ArchiveImage[] = [];
  const at = (name: string): string => path.join(tree.path, name);
  const write = (name: string, content: Uint8Array): string => {
    mkdirSync(path.dirname(at(name)), { recursive: true });
    writeFileSync(at(name), content);
    return at(name);
  };
  before(async () => {
    await ensureDebianPackages(['e2fsprogs', 'python3', 'qemu-utils', 'xz-utils'], { install: true });
    tree = await tempTree('dpl-build');
    images = await oddImages();
    write('saved.tar', savedArchive(images));
    write('odd.tar', savedArchive(images.slice(0, 1)));
    write('small.tar', savedArchive(images.slice(1)));
  });
  after(cleanUpAll);

  const build = async (...args: readonly string[]): Promise<string> => {
    const { exitCode, all, stdout } = await agent(['build', ...args]);
    assert.equal(exitCode, 0, all);
    return stdout;
  };
  const refused = async (expected: RegExp, exitStatus: number, ...args: readonly string[]): Promise<void> => {
    const { exitCode, stderr } = await agent(['build', '--quiet', '-o', at('refused.qcow2'), ...args]);
    assert.match(stderr, expected);
    assert.equal(exitCode, exitStatus, stderr);
    assert.deepEqual(
      readdirSync(tree.path).filter((name) => name.includes('refused')),
      [],
    );
  };
  const inspect = async (disk: string): Promise<Inspection> => {
    const { exitCode, all, stdout } = await agent(['inspect', '--json', '--deep', disk]);
    assert.equal(exitCode, 0, all);
    return JSON.parse(stdout) as Inspection;
  };
  const bytes = (name: string): Buffer => readFileSync(at(name));
  const equal = (first: string, second: string): void =>
    assert.ok(bytes(first).equals(bytes(second)), `${first} and ${second} are to be the same bytes`);

  for (const filesystem of ['ext4', 'erofs'] as const) {
    it(`makes a sound ${filesystem} whose layers have their digests, as raw and qcow2`, async () => {
      await build(at('saved.tar'), '-o', at(`sound.${filesystem}`), '--format', 'raw', '--filesystem', filesystem);
      await build(at('saved.tar'), '-o', at(`sound-${filesystem}.qcow2`), '--filesystem', filesystem);
      await build(at('saved.tar'), '-o', at(`small-${filesystem}.qcow2`), '--filesystem', filesystem, '--compress');
      if (filesystem === 'ext4') await execa('e2fsck', ['-f', '-n', at('sound.ext4')]);
      await execa('qemu-img', ['check', at(`sound-${filesystem}.qcow2`)]);
      for (const qcow2 of ['sound', 'small'])
        await execa('qemu-img', ['compare', at(`sound.${filesystem}`), at(`${qcow2}-${filesystem}.qcow2`)]);
      assert.ok(statSync(at(`small-${filesystem}.qcow2`)).size < statSync(at(`sound-${filesystem}.qcow2`)).size);
      const raw = await inspect(at(`sound.${filesystem}`));
      assert.deepEqual({ ...(await inspect(at(`small-${filesystem}.qcow2`))), format: 'raw' }, raw);
      assert.equal(raw.filesystem, filesystem);
      assert.equal(raw.label, `dpl-${raw.manifest?.digest.slice(7, 18) ?? ''}`);
      assert.deepEqual(raw.images.flatMap(({ references }) => references).sort(), [
        'odd:1',
        'registry.example:5000/team/odd:two',
        'small:1',
      ]);
      assert.equal(raw.layers.length, 9);
    });
  }

  it('holds the same tree in ext4 and erofs, for the kernel', async () => {
    const facts = await Promise.all(
      ['ext4', 'erofs'].map(async (filesystem) => {
        const disk = at(`tree.${filesystem}`);
        await build(at('saved.tar'), '-o', disk, '--format', 'raw', '--filesystem', filesystem, '--blobs', 'tar');
        mkdirSync(`${disk}-mounted`);
        await execa('mount', [
          '-t',
          filesystem,
          '-o',
          `loop,ro${filesystem === 'ext4' ? ',noload' : ''}`,
          disk,
          `${disk}-mounted`,
        ]);
        return await treeFacts(`${disk}-mounted`);
      }),
    );
    const [ext4 = {}, erofs = {}] = facts;
    assert.ok(Object.keys(erofs).length > 300);
    assert.deepEqual(Object.fromEntries(Object.entries(ext4).filter(([name]) => name !== "b'lost+found'")), erofs);
    const mounted = await inspect(at('tree.erofs-mounted'));
    assert.equal(mounted.layers.length, 9);
  });

  it('gives the same bytes in another order, from another kind of archive, from standard input, without root', async () => {
    await build(at('saved.tar'), '-o', at('one.qcow2'));
    await build(at('small.tar'), at('odd.tar'), at('saved.tar'), '-o', at('other-order.qcow2'));
    equal('one.qcow2', 'other-order.qcow2');
    for (const [name, compress] of [
      ['gz', gzipSync],
      ['zst', zstdCompressSync],
    ] as const) {
      await build(write(`saved.tar.${name}`, compress(bytes('saved.tar'))), '-o', at(`${name}.qcow2`));
      equal('one.qcow2', `${name}.qcow2`);
    }
    const [command, ...before] = agentCommand();
    await execa('xz', ['--keep', '-0', at('saved.tar')]);
    await execa(command, [...before, 'build', '-', '-o', at('stdin.qcow2')], { inputFile: at('saved.tar.xz') });
    equal('one.qcow2', 'stdin.qcow2');
    const plain = ociLayout(images, 'none');
    for (const [name, content] of plain) write(`layout/${name}`, content);
    await build(at('layout'), '-o', at('folder.qcow2'));
    await build(write('layout.tar', tarOf(plain)), '-o', at('layout.qcow2'));
    equal('folder.qcow2', 'layout.qcow2');
    // One uid, no capability outside, no network.
    mkdirSync(at('unprivileged'));
    chmodSync(at('unprivileged'), 0o777);
    await execa('unshare', [
      '--user',
      '--net',
      command,
      ...before,
      'build',
      at('saved.tar'),
      '-o',
      at('unprivileged/disk.qcow2'),
    ]);
    equal('one.qcow2', 'unprivileged/disk.qcow2');
  });

  it('unpacks compressed layers, and chooses a platform', async () => {
    for (const compression of ['gzip', 'zstd'] as const) {
      await build(write(`${compression}.tar`, tarOf(ociLayout(images, compression))), '-o', at(`${compression}.qcow2`));
      assert.ok(
        (await inspect(at(`${compression}.qcow2`))).images.every(({ references }) =>
          references.some((reference) => reference.includes('@sha256:')),
        ),
      );
    }
    const layouts = ['amd64', 'arm64'].map((architecture, index) => ({
      architecture,
      files: ociLayout([{ tags: [], layers: [makeTar([{ name: `only-${index}`, content: architecture }])] }], 'gzip'),
    }));
    const files = new Map(layouts.flatMap(({ files: some }) => [...some]));
    const manifests = layouts.map(({ architecture, files: some }) => {
      const [descriptor] = (JSON.parse(some.get('index.json')?.toString() ?? '') as { manifests: object[] }).manifests;
      return { ...descriptor, platform: { os: 'linux', architecture } };
    });
    const index = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests }),
    );
    files.set(`blobs/sha256/${digestOf(index)}`, index);
    files.set(
      'index.json',
      Buffer.from(
        JSON.stringify({
          schemaVersion: 2,
          manifests: [
            {
              mediaType: 'application/vnd.oci.image.index.v1+json',
              digest: `sha256:${digestOf(index)}`,
              size: index.length,
            },
          ],
        }),
      ),
    );
    const archive = write('platforms.tar', tarOf(files));
    const ids = await Promise.all(
      layouts.map(async ({ architecture }) => {
        await build(
          archive,
          '-o',
          at(`${architecture}.qcow2`),
          '--platform',
          `linux/${architecture}`,
          '--tag',
          'multi:1',
        );
        return (await inspect(at(`${architecture}.qcow2`))).images
          .map(({ references, layers }) => `${references[0] ?? ''} ${layers[0] ?? ''}`)
          .join();
      }),
    );
    assert.match(ids.join(), /^multi:1 sha256:\w{64},multi:1 sha256:\w{64}$/);
    assert.notEqual(ids[0], ids[1]);
    await refused(
      /platforms\.tar: entry 'blobs\/sha256\/\w+': expected an image for linux\/s390x, found linux\/amd64, linux\/arm64: choose with --platform/,
      1,
      archive,
      '--platform',
      'linux/s390x',
    );
  });

  it('leaves out the layers of a base disk, and names the disk', async () => {
    const top = makeTar([{ name: 'changed', content: 'changed\n' }]);
    await build(at('small.tar'), '-o', at('base.qcow2'), '--label', 'dpl-base');
    const derived = write(
      'derived.tar',
      savedArchive([{ tags: ['small:2'], layers: [...(images[1]?.layers ?? []), top] }]),
    );
    await build(derived, '-o', at('derived.qcow2'), '--base', at('base.qcow2'));
    const base = await inspect(at('base.qcow2'));
    const found = await inspect(at('derived.qcow2'));
    assert.deepEqual(
      found.layers.map(({ diffId }) => diffId),
      [`sha256:${digestOf(top)}`],
    );
    assert.deepEqual(found.manifest?.bases, [
      { label: 'dpl-base', manifest: base.manifest?.digest, layers: base.layers.map(({ chainId }) => chainId).sort() },
    ]);
    assert.ok(statSync(at('derived.qcow2')).size < 5 * 1024 * 1024);
    await refused(/saved\.tar: expected a raw image or qcow2 of ext4 or erofs/, 1, derived, '--base', at('saved.tar'));
  });

  it('says which archive and entry is wrong, and leaves nothing behind', async () => {
    const one: ArchiveImage = { tags: ['one:1'], layers: [makeTar([{ name: 'a', content: 'a' }])] };
    const broken = savedArchive([one]);
    broken.write('b', 1024);
    await refused(
      /broken\.tar: entry '0{64}\/layer\.tar': expected a layer with digest sha256:\w{64}, as in the image's configuration, found sha256:\w{64}/,
      1,
      write('broken.tar', broken),
    );
    await refused(
      /cut\.tar: at entry '\w+\/layer\.tar': expected \d+ bytes, found \d+: the archive is cut off/,
      1,
      write('cut.tar', bytes('saved.tar').subarray(0, 1_000_000)),
    );
    await refused(
      /cut\.tar\.gz: expected whole gzip data, found the end of it/,
      1,
      write('cut.tar.gz', gzipSync(bytes('saved.tar')).subarray(0, 100_000)),
    );
    await refused(/text\.tar: expected a tar of images/, 1, write('text.tar', Buffer.alloc(2000, 'text')));
    await refused(/none\.tar: expected an archive, found no such file/, 1, at('none.tar'));
    await refused(
      /empty\.tar: expected a tar of images, .*; found zeros: a tar without an entry/,
      1,
      write('empty.tar', makeTar([])),
    );
    const other: ArchiveImage = { tags: ['one:1'], layers: [makeTar([{ name: 'b', content: 'b' }])] };
    await refused(
      /one:1: expected one image of that name, found two: sha256:\w{64} and sha256:\w{64}/,
      1,
      write('claim.tar', savedArchive([one, other])),
    );
    const climbing: ArchiveImage = { tags: ['out:1'], layers: [makeTar([{ name: '../../out', content: 'out' }])] };
    await refused(
      /climbing\.tar: entry '0+\/layer\.tar': entry '\.\.\/\.\.\/out': expected a path below the layer's root/,
      1,
      write('climbing.tar', savedArchive([climbing])),
    );
    const types = ociLayout([one], 'gzip');
    const [name = '', manifest] =
      [...types].find(([, content]) => content.includes('image.manifest') && content.includes('tar+gzip')) ?? [];
    const lz4 = Buffer.from(manifest?.toString().replace('tar+gzip', 'tar+lz4') ?? '');
    types.delete(name);
    types.set(`blobs/sha256/${digestOf(lz4)}`, lz4);
    types.set(
      'index.json',
      Buffer.from(
        JSON.stringify({
          manifests: [
            {
              mediaType: 'application/vnd.oci.image.manifest.v1+json',
              digest: `sha256:${digestOf(lz4)}`,
              size: lz4.length,
            },
          ],
        }),
      ),
    );
    await refused(
      /types\.tar: entry 'blobs\/sha256\/\w+': expected a layer, found the media type 'application\/vnd\.oci\.image\.layer\.v1\.tar\+lz4'/,
      1,
      write('types.tar', tarOf(types)),
    );
    await refused(
      /^docker-preloader: --size: expected a size of at least \d+ bytes, found 1048576/m,
      1,
      at('small.tar'),
      '--size',
      '1M',
    );
    await refused(/--label: expected 1 to 16 letters/, 2, at('small.tar'), '--label', 'seventeen-letters');
    await refused(/--label: expected 1 to 16 letters/, 2, at('small.tar'), '--label', 'sl/ash');
    await refused(
      /--label: expected 1 to 15 letters/,
      2,
      at('small.tar'),
      '--filesystem',
      'erofs',
      '--label',
      'sixteen-letters-',
    );
    await refused(
      /option '--format <format>' argument 'vhd' is invalid\. Allowed choices are qcow2, raw/,
      2,
      at('small.tar'),
      '--format',
      'vhd',
    );
  });

  it('refuses to make a disk of which the agent would leave something out', async () => {
    const layers = Array.from({ length: 125 }, (_, index) => makeTar([{ name: `layer-${index}`, content: '' }]));
    const names = Array.from({ length: 10_001 }, (_, index) => `many:${index}`);
    await refused(
      /expected at most 10000 names of images on a disk, found 10001: spread them over several disks/,
      1,
      write('names.tar', savedArchive([{ tags: names, layers: layers.slice(0, 1) }])),
    );
    // Images of the same layers, which differ in a comment: each has 125 ChainIDs in the manifest.
    const { architecture, os, rootfs } = JSON.parse(imageConfig(layers).config.toString()) as Record<string, unknown>;
    const configs = Array.from({ length: 3300 }, (_, comment) =>
      Buffer.from(JSON.stringify({ architecture, os, rootfs, comment })),
    );
    const places = layers.map((_, index) => `${index}/layer.tar`);
    const manifest = configs.map((_, index) => ({
      Config: `${index}.json`,
      RepoTags: [`image:${index}`],
      Layers: places,
    }));
    await refused(
      /expected at most 33554432 bytes of manifest on a disk, found \d{8}: spread them over several disks/,
      1,
      write(
        'manifest.tar',
        makeTar([
          ...layers.map((content, index) => ({ name: places[index] ?? '', content })),
          ...configs.map((content, index) => ({ name: `${index}.json`, content })),
          { name: 'manifest.json', content: JSON.stringify(manifest) },
        ]),
      ),
    );
  });

  it('finds with --deep what was changed on a disk', async () => {
    await build(at('small.tar'), '-o', at('changed.ext4'), '--format', 'raw');
    const disk = bytes('changed.ext4');
    disk.write('S', disk.indexOf('smallsmall') + 5000);
    write('changed.ext4', disk);
    const { exitCode, stderr } = await agent(['inspect', '--deep', at('changed.ext4')]);
    assert.equal(exitCode, 1);
    assert.match(stderr, /layer sha256:\w{64}: expected content with digest sha256:\w{64}, found sha256:\w{64}/);
  });

  it('fixes the size where asked for, and keeps the priority', async () => {
    await build(at('small.tar'), '-o', at('sized.ext4'), '--format', 'raw', '--size', '300M', '--priority', '7');
    assert.equal(statSync(at('sized.ext4')).size, 300 * 1024 * 1024);
    await execa('e2fsck', ['-f', '-n', at('sized.ext4')]);
    const found = await inspect(at('sized.ext4'));
    assert.equal(found.manifest?.priority, 7);
    assert.equal(found.images[0]?.id, `sha256:${imageConfig(images[1]?.layers ?? []).id}`);
  });

  it('takes an image of 120 layers, and the same layer twice', async () => {
    const layers = Array.from({ length: 119 }, (_, index) =>
      makeTar([{ name: `layer-${index}`, content: `${index}\n` }]),
    );
    const deep = write(
      'deep.tar',
      savedArchive([{ tags: ['deep'], layers: [...layers, layers[0] ?? Buffer.alloc(0)] }]),
    );
    await build(deep, '-o', at('deep.qcow2'));
    const {
      images: [image],
      layers: found,
    } = await inspect(at('deep.qcow2'));
    assert.deepEqual(image?.references, ['deep:latest']);
    assert.equal(image.layers.length, 120);
    assert.equal(found.length, 120);
  });

  for (const filesystem of ['ext4', 'erofs'] as const) {
    it(`keeps a file of 700 MiB that is nearly all holes, in ${filesystem}`, async () => {
      const size = 700 * 1024 * 1024;
      const pax = {
        'GNU.sparse.name': 'holes',
        'GNU.sparse.size': String(size),
        'GNU.sparse.numblocks': '1',
        'GNU.sparse.map': `${size - 5},5`,
      };
      const archive = write(
        'holes.tar',
        savedArchive([
          { tags: ['holes:1'], layers: [makeTar([{ name: 'GNUSparseFile.0/holes', content: 'end!\n', pax }])] },
        ]),
      );
      const disk = at(`holes.${filesystem}`);
      await build(archive, '-o', disk, '--format', 'raw', '--filesystem', filesystem);
      if (filesystem === 'ext4') await execa('e2fsck', ['-f', '-n', disk]);
      const [layer] = (await inspect(disk)).layers;
      assert.equal(layer?.sizeBytes, size);
      mkdirSync(`${disk}-mounted`);
      await execa('mount', [
        '-t',
        filesystem,
        '-o',
        `loop,ro${filesystem === 'ext4' ? ',noload' : ''}`,
        disk,
        `${disk}-mounted`,
      ]);
      const file = path.join(`${disk}-mounted`, 'overlay2', layer?.cacheId ?? '', 'diff/holes');
      assert.equal(statSync(file).size, size);
      assert.equal((await execa('tail', ['-c', '6', file], { encoding: 'latin1' })).stdout, '\0end!');
      assert.ok(statSync(disk).blocks * 512 < 2 * 1024 * 1024, 'holes of the disk image, too');
      await execa('umount', [`${disk}-mounted`]);
    });
  }

  it('says that there is no room, and leaves nothing behind', async () => {
    mkdirSync(at('full'));
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'none', at('full')]);
    const { exitCode, stderr } = await agent(['build', '--quiet', at('small.tar'), '-o', at('full/disk.qcow2')]);
    assert.match(stderr, /full\/disk\.qcow2: expected room for the disk beside it, found the filesystem full/);
    assert.equal(exitCode, 1);
    assert.deepEqual(readdirSync(at('full')), []);
    await execa('umount', [at('full')]);
  });

  it('leaves nothing behind on Ctrl-C', async () => {
    const [command, ...before] = agentCommand();
    const child = spawn(command, [...before, 'build', '-', '-o', at('interrupted.qcow2')], {
      stdio: ['pipe', 'ignore', 'pipe'],
    });
    child.stdin.on('error', () => undefined);
    child.stdin.write(bytes('saved.tar').subarray(0, 1_000_000));
    const there = (): string[] => readdirSync(tree.path).filter((name) => name.includes('interrupted'));
    await once(child.stderr, 'data');
    while (there().length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill('SIGINT');
    const [, signal] = (await once(child, 'exit')) as [number | null, string | null];
    assert.equal(signal, 'SIGINT');
    assert.deepEqual(there(), []);
    assert.ok(!existsSync(at('interrupted.qcow2')));
  });
});
