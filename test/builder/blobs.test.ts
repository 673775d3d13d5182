import assert from 'node:assert/strict';
import { readFileSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { execa } from 'execa';
import type { Inspection } from '../../agent/verify/inspect-disk.ts';
import { agent } from '../support/agent.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { tempTree, type TempTree } from '../support/temp-tree.ts';
import { digestOf, imageConfig, ociLayout, savedArchive, tarOf, type ArchiveImage } from './archive/archives.ts';
import { makeTar } from './tar/make-tar.ts';

/** What `build --json` says of the blobs. */
interface Told {
  readonly bytes: number;
  readonly blobs: {
    readonly mode: string;
    readonly count: number;
    readonly bytes: number;
    readonly addedBytes: number;
    readonly leftOut: number;
    readonly smallBlocks: boolean;
  };
}

/** How an index lists what it names. */
interface Listed {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const layer = (seed: string, files: number): Buffer =>
  makeTar(
    Array.from({ length: files }, (_, number) => ({
      name: `${seed}-${number}`,
      content: `${seed}${number} `.repeat(500 + 40 * number),
    })),
  );
const base = layer('base', 40);
const top = layer('top', 3);
const other = layer('other', 2);
const images: readonly ArchiveImage[] = [
  { tags: ['app:1'], layers: [base, top] },
  { tags: ['db:1'], layers: [base, other] },
];
const uncompressed = [base, top, other].map((tar) => `sha256:${digestOf(tar)}`).sort();
const compressed = [base, top, other].map((tar) => `sha256:${digestOf(gzipSync(tar))}`).sort();

describe("build and the blobs for containerd's store", () => {
  let tree: TempTree;
  const at = (name: string): string => path.join(tree.path, name);
  const write = (name: string, content: Uint8Array): string => {
    writeFileSync(at(name), content);
    return at(name);
  };
  before(async () => {
    await ensureDebianPackages(['e2fsprogs', 'qemu-utils'], { install: true });
    tree = await tempTree('dpl-blobs');
    write('saved.tar', savedArchive(images));
    write('gzip.tar', tarOf(ociLayout(images, 'gzip')));
    write('plain.tar', tarOf(ociLayout(images, 'none')));
  });
  after(cleanUpAll);

  const build = async (...args: readonly string[]): Promise<Told> => {
    const { exitCode, all, stdout } = await agent(['build', '--quiet', '--json', ...args]);
    assert.equal(exitCode, 0, all);
    return JSON.parse(stdout) as Told;
  };
  const inspect = async (disk: string): Promise<Inspection> => {
    const { exitCode, all, stdout } = await agent(['inspect', '--json', '--deep', disk]);
    assert.equal(exitCode, 0, all);
    return JSON.parse(stdout) as Inspection;
  };
  /** The digests of the blobs that the images' manifests have on a disk. */
  const blobsOf = ({ images: found }: Inspection): string[] =>
    [
      ...new Set(found.flatMap(({ targets }) => targets.flatMap(({ blobs }) => blobs.flatMap((one) => one ?? [])))),
    ].sort();

  for (const [archive, filesystem, mode, expected] of [
    ['saved', 'ext4', 'keep', { digests: [], leftOut: 3, smallBlocks: false }],
    ['saved', 'ext4', 'tar', { digests: uncompressed, leftOut: 0, smallBlocks: false }],
    ['saved', 'ext4', 'none', { digests: [], leftOut: 0, smallBlocks: false }],
    ['saved', 'erofs', 'keep', { digests: uncompressed, leftOut: 0, smallBlocks: true }],
    ['saved', 'erofs', 'tar', { digests: uncompressed, leftOut: 0, smallBlocks: true }],
    ['saved', 'erofs', 'none', { digests: [], leftOut: 0, smallBlocks: false }],
    ['plain', 'erofs', 'keep', { digests: uncompressed, leftOut: 0, smallBlocks: true }],
    ['gzip', 'ext4', 'keep', { digests: compressed, leftOut: 0, smallBlocks: false }],
    ['gzip', 'ext4', 'tar', { digests: uncompressed, leftOut: 0, smallBlocks: false }],
    ['gzip', 'ext4', 'none', { digests: [], leftOut: 0, smallBlocks: false }],
    ['gzip', 'erofs', 'keep', { digests: compressed, leftOut: 0, smallBlocks: false }],
    ['gzip', 'erofs', 'tar', { digests: uncompressed, leftOut: 0, smallBlocks: true }],
    ['gzip', 'erofs', 'none', { digests: [], leftOut: 0, smallBlocks: false }],
  ] as const) {
    it(`of ${archive}.tar on ${filesystem}: ${mode}`, async () => {
      const disk = at(`${archive}-${filesystem}-${mode}.raw`);
      const options = ['--filesystem', filesystem, '--blobs', mode];
      const { blobs, bytes } = await build(at(`${archive}.tar`), '-o', disk, ...options);
      const { digests, ...rest } = expected;
      const { count, leftOut, smallBlocks, addedBytes } = blobs;
      assert.deepEqual({ leftOut, smallBlocks, mode: blobs.mode }, { ...rest, mode });
      const found = await inspect(disk);
      assert.deepEqual(blobsOf(found), digests);
      assert.deepEqual(found.blobs, { count, bytes: blobs.bytes });
      assert.equal(count, digests.length);
      assert.equal(found.manifest?.formatVersion, '1.1');
      assert.ok(found.images.every(({ targets }) => targets.length === 1));
      assert.deepEqual(found.images.flatMap(({ targets }) => targets.flatMap(({ references }) => references)).sort(), [
        'app:1',
        'db:1',
      ]);
      assert.ok(addedBytes <= blobs.bytes + 4096 * count);
      if (smallBlocks) assert.ok(addedBytes < blobs.bytes / 4, 'most of them is shared');
      const dry = await build(at(`${archive}.tar`), '--dry-run', ...options);
      assert.deepEqual([dry.blobs, dry.bytes], [blobs, bytes]);
    });
  }

  it("keeps a registry's manifest, and its ID with it, in every mode that keeps its layers", async () => {
    const layout = ociLayout(images, 'gzip');
    const index = JSON.parse(layout.get('index.json')?.toString() ?? '') as { manifests: { digest: string }[] };
    for (const mode of ['keep', 'none', 'tar']) {
      const { images: found } = await inspect(at(`gzip-ext4-${mode}.raw`));
      const targets = found.flatMap((image) => image.targets.map(({ digest }) => digest)).sort();
      const registrys = index.manifests.map(({ digest }) => digest).sort();
      if (mode === 'tar') assert.ok(targets.every((digest) => !registrys.includes(digest)));
      else assert.deepEqual(targets, registrys);
      // The names with digests are the registry's in any case.
      for (const digest of registrys)
        assert.ok(found.some(({ references }) => references.some((reference) => reference.endsWith(`@${digest}`))));
    }
  });

  it('makes the same manifest whatever the archives of an image are', async () => {
    const [saved, plain] = await Promise.all(
      ['saved-erofs-keep.raw', 'gzip-ext4-tar.raw'].map((name) => inspect(at(name))),
    );
    const digests = (found: Inspection | undefined): unknown => found?.images.map(({ targets }) => targets[0]?.digest);
    assert.deepEqual(digests(saved), digests(plain));
  });

  it('gives the same bytes in any order of archives that have the same layers compressed and not', async () => {
    for (const filesystem of ['ext4', 'erofs']) {
      for (const [name, ...archives] of [
        ['first', 'saved.tar', 'gzip.tar', 'plain.tar'],
        ['second', 'plain.tar', 'gzip.tar', 'saved.tar'],
      ] as const)
        await build(
          ...archives.map(at),
          '-o',
          at(`${name}.${filesystem}`),
          '--format',
          'raw',
          '--filesystem',
          filesystem,
        );
      assert.ok(readFileSync(at(`first.${filesystem}`)).equals(readFileSync(at(`second.${filesystem}`))), filesystem);
    }
    // The layers compressed for the registry's manifest, and as tars for that of the other layout.
    assert.deepEqual(blobsOf(await inspect(at('first.erofs'))), [...compressed, ...uncompressed].sort());
  });

  it('takes a layer that archives of other tools have compressed, without its digest in its name', async () => {
    const { config, id } = imageConfig([base]);
    const archive = makeTar([
      { name: 'layer.tar.gz', content: gzipSync(base) },
      { name: 'config', content: config },
      {
        name: 'manifest.json',
        content: JSON.stringify([{ Config: 'config', RepoTags: ['crane:1'], Layers: ['layer.tar.gz'] }]),
      },
    ]);
    await build(write('crane.tar', archive), '-o', at('crane.qcow2'));
    const found = await inspect(at('crane.qcow2'));
    assert.deepEqual([found.images[0]?.id, blobsOf(found)], [`sha256:${id}`, [`sha256:${digestOf(gzipSync(base))}`]]);
  });

  it('gives each tag of an archive the manifests that lead to it there, though they have one image', async () => {
    const files = new Map<string, Buffer>();
    const put = (content: Uint8Array, mediaType: string): Listed => {
      files.set(`blobs/sha256/${digestOf(content)}`, Buffer.from(content));
      return { mediaType, digest: `sha256:${digestOf(content)}`, size: content.length };
    };
    const json = (document: object, mediaType: string): Listed =>
      put(Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, ...document })), mediaType);
    const { config, id } = imageConfig([base]);
    const manifestWith = (layer: Listed): Listed =>
      json(
        { config: put(config, 'application/vnd.oci.image.config.v1+json'), layers: [layer] },
        'application/vnd.oci.image.manifest.v1+json',
      );
    const gzip = put(gzipSync(base), 'application/vnd.oci.image.layer.v1.tar+gzip');
    const zstd = put(zstdCompressSync(base), 'application/vnd.oci.image.layer.v1.tar+zstd');
    const indexed = (version: string): Listed =>
      json({ manifests: [manifestWith(gzip)], annotations: { version } }, 'application/vnd.oci.image.index.v1+json');
    const tops = new Map([
      ['app:1', indexed('1')],
      ['app:2', indexed('2')],
      ['app:gzip', manifestWith(gzip)],
      ['app:zstd', manifestWith(zstd)],
    ]);
    const listed = [...tops].map(([name, top]) => ({
      ...top,
      annotations: { 'io.containerd.image.name': `docker.io/library/${name}` },
    }));
    const entry = ({ digest }: { readonly digest: string }): string => `blobs/sha256/${digest.slice('sha256:'.length)}`;
    files.set('oci-layout', Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
    files.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: listed })));
    // As containerd exports it: of the names whose indexes have one manifest, it lists the last.
    const Config = entry({ digest: `sha256:${id}` });
    const saved = [
      { Config, RepoTags: ['app:2', 'app:gzip'], Layers: [entry(gzip)] },
      { Config, RepoTags: ['app:zstd'], Layers: [entry(zstd)] },
    ];
    const archive = tarOf(new Map([...files, ['manifest.json', Buffer.from(JSON.stringify(saved))]]));
    await build(write('tops.tar', archive), '-o', at('tops.raw'));
    const { images: found } = await inspect(at('tops.raw'));
    assert.deepEqual(
      found
        .flatMap(({ targets }) => targets.map(({ references, digest }) => `${references.join()} ${digest}`))
        .toSorted(),
      [...tops].map(([name, { digest }]) => `${name} ${digest}`).toSorted(),
    );
    // The layout alone has the same names.
    await build(write('layout.tar', tarOf(files)), '-o', at('layout.raw'));
    assert.ok(readFileSync(at('layout.raw')).equals(readFileSync(at('tops.raw'))));
  });

  it('refuses a compressed layer that is another one than the same image has elsewhere', async () => {
    const right = ociLayout([{ tags: ['app:1'], layers: [base] }], 'gzip');
    const before = right.get(`blobs/sha256/${digestOf(gzipSync(base))}`);
    assert.ok(before);
    const index = JSON.parse(right.get('index.json')?.toString() ?? '') as { manifests: [Listed] };
    const name = `blobs/sha256/${index.manifests[0].digest.slice('sha256:'.length)}`;
    // Of two forms, that with the first digest is unpacked.
    const [wrong] = Array.from({ length: 64 }, (_, size) => gzipSync(Buffer.concat([other, Buffer.alloc(512 * size)])))
      .filter((blob) => digestOf(blob) > digestOf(before))
      .map((blob) => Buffer.from(blob));
    assert.ok(wrong);
    const lying = new Map(right);
    const manifest = Buffer.from(
      right
        .get(name)
        ?.toString()
        .replace(digestOf(before), digestOf(wrong))
        .replace(`"size":${before.length}`, `"size":${wrong.length}`) ?? '',
    );
    lying.set(`blobs/sha256/${digestOf(wrong)}`, wrong);
    lying.set(`blobs/sha256/${digestOf(manifest)}`, manifest);
    const top = { ...index.manifests[0], digest: `sha256:${digestOf(manifest)}`, size: manifest.length };
    lying.set('index.json', Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [top] })));
    const args = ['build', '--quiet', '-o', at('lying.raw'), write('right.tar', tarOf(right)), '--blobs'];
    for (const mode of ['keep', 'tar', 'none']) {
      const { exitCode, stderr } = await agent([...args, mode, write('lying.tar', tarOf(lying))]);
      assert.equal(exitCode, 1, stderr);
      assert.match(
        stderr,
        new RegExp(`blobs/sha256/${digestOf(wrong)}': expected a layer with digest sha256:${digestOf(base)}, as in`),
      );
    }
  });

  it('takes a layer of no bytes, without a blob', async () => {
    const archive = savedArchive([{ tags: ['empty:1'], layers: [base, new Uint8Array()] }]);
    write('empty.tar', archive);
    for (const filesystem of ['ext4', 'erofs']) {
      const options = ['-o', at('empty.raw'), '--filesystem', filesystem, '--blobs', 'tar'];
      assert.equal((await build(at('empty.tar'), ...options)).blobs.count, 1);
      assert.deepEqual((await inspect(at('empty.raw'))).layers.length, 2);
    }
  });

  it('has one layer of several chains once, with the files of each', async () => {
    const archive = savedArchive([{ tags: ['twice:1'], layers: [base, top, base] }]);
    const { blobs } = await build(write('twice.tar', archive), '-o', at('twice.raw'), '--filesystem', 'erofs');
    assert.equal(blobs.count, 2);
    const found = await inspect(at('twice.raw'));
    assert.equal(found.layers.length, 3);
    assert.ok(statSync(at('twice.raw')).size < 2 * base.length, 'the data of the layer is there once');
  });

  it('leaves out the blobs of layers that a base disk has, and reads those of an archive without them', async () => {
    await build(
      write('base.tar', savedArchive([{ tags: ['base:1'], layers: [base] }])),
      '-o',
      at('base.raw'),
      '--filesystem',
      'erofs',
    );
    const options = ['--base', at('base.raw'), '--filesystem', 'erofs', '-o', at('above.raw')];
    await build(at('saved.tar'), ...options);
    const found = await inspect(at('above.raw'));
    assert.deepEqual(blobsOf(found), [top, other].map((tar) => `sha256:${digestOf(tar)}`).sort());
    for (const { targets } of found.images) assert.deepEqual(targets[0]?.blobs[0], null);
    // The manifests are those of a disk with all layers.
    assert.deepEqual(
      found.images.map(({ targets }) => targets[0]?.digest),
      (await inspect(at('saved-erofs-keep.raw'))).images.map(({ targets }) => targets[0]?.digest),
    );
    const layout = ociLayout(images, 'gzip');
    layout.delete(`blobs/sha256/${digestOf(gzipSync(base))}`);
    await build(write('lacking.tar', tarOf(layout)), ...options.slice(0, -1), at('lacking.raw'));
    assert.deepEqual(
      blobsOf(await inspect(at('lacking.raw'))),
      [top, other].map((tar) => `sha256:${digestOf(gzipSync(tar))}`).sort(),
    );
  });

  it('is the same in a qcow2, also a compressed one', async () => {
    for (const filesystem of ['ext4', 'erofs']) {
      for (const [name, ...compress] of [['plain'], ['small', '--compress']] as const) {
        const disk = at(`${name}-${filesystem}.qcow2`);
        await build(at('saved.tar'), '-o', disk, '--filesystem', filesystem, '--blobs', 'tar', ...compress);
        await execa('qemu-img', ['compare', disk, at(`saved-${filesystem}-tar.raw`)]);
      }
    }
  });

  it('says what blobs cost, and which guests need a new kernel', async () => {
    const told = async (...args: readonly string[]): Promise<string> => {
      const { exitCode, stderr, stdout } = await agent(['build', '--quiet', '-o', at('told.qcow2'), ...args]);
      assert.equal(exitCode, 0, stderr);
      return `${stderr}\n${stdout}`;
    };
    assert.match(
      await told(at('saved.tar'), '--filesystem', 'erofs'),
      /3 blobs of layers, \S+ kB, for containerd's store: the disk is \S+ [kM]B larger for them; --blobs none leaves them out\n.*guests need Linux 6\.4 or later, or 6\.1\.115 or later of Debian 12; --blobs none is for older ones/,
    );
    const ofExt4 = await told(at('saved.tar'));
    assert.match(
      ofExt4,
      /, 3 uncompressed without blobs \(--filesystem erofs or --blobs tar has them\), manifest sha256:/,
    );
    assert.doesNotMatch(ofExt4, /Linux|larger/);
    assert.doesNotMatch(
      await told(at('saved.tar'), '--filesystem', 'erofs', '--blobs', 'none'),
      /Linux|blobs of layers|without blobs/,
    );
  });

  it('is refused with another engine, but for none', async () => {
    for (const mode of ['keep', 'tar']) {
      const { exitCode, stderr } = await agent([
        'build',
        at('saved.tar'),
        '-o',
        at('no.qcow2'),
        '--engine',
        'docker',
        '--blobs',
        mode,
      ]);
      assert.equal(exitCode, 2);
      assert.match(stderr, /--blobs: expected the built-in engine, found another/);
    }
  });

  it('is compared with its digests by inspect --deep', async () => {
    const disk = at('spoilt.raw');
    await build(at('gzip.tar'), '-o', disk);
    const bytes = readFileSync(disk);
    const blob = gzipSync(base);
    const place = bytes.indexOf(blob.subarray(0, 4096));
    assert.ok(place > 0);
    bytes.writeUInt8(bytes.readUInt8(place + 100) ^ 1, place + 100);
    writeFileSync(disk, bytes);
    assert.equal((await agent(['inspect', disk])).exitCode, 0);
    const { exitCode, stderr } = await agent(['inspect', '--deep', disk]);
    assert.equal(exitCode, 1);
    assert.match(
      stderr,
      new RegExp(`blobs/sha256/${digestOf(blob)}: expected content with digest sha256:${digestOf(blob)}, found`),
    );
  });

  it('shows the same files to the kernel, whether they share their data or not', async () => {
    const listings = await Promise.all(
      ['keep', 'none'].map(async (mode) => {
        const folder = at(`mounted-${mode}`);
        mkdirSync(folder);
        await execa('mount', ['-t', 'erofs', '-o', 'loop,ro', at(`saved-erofs-${mode}.raw`), folder]);
        const { stdout } = await execa('sh', [
          '-c',
          'cd "$1/overlay2" && find . -type f | sort | xargs sha256sum',
          'sh',
          folder,
        ]);
        if (mode === 'keep') {
          const sums = await execa('sh', ['-c', 'cd "$1/blobs/sha256" && sha256sum *', 'sh', folder]);
          for (const line of sums.stdout.split('\n')) assert.match(line, /^(\w{64}) {2}\1$/);
          assert.equal(sums.stdout.split('\n').length, 3);
        }
        return stdout;
      }),
    );
    assert.equal(listings[0], listings[1]);
  });
});
