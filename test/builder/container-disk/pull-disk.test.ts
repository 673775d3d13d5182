import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import path from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { execa } from 'execa';
import { ImageClients } from '../../../agent/builder/source/image-clients.ts';
import { agent, agentCommand } from '../../support/agent.ts';
import { cleanUpAll } from '../../support/cleanup.ts';
import { ensureDebianPackages } from '../../support/debian-packages.ts';
import { tempTree, type TempTree } from '../../support/temp-tree.ts';
import { until } from '../../support/until.ts';
import { savedArchive, type ArchiveImage } from '../archive/archives.ts';
import { makeTar, type MadeEntry } from '../tar/make-tar.ts';
import { sha256, startLyingRegistry, type Lies, type LyingRegistry } from './lying-registry.ts';

const image: ArchiveImage = { tags: ['one:1'], layers: [makeTar([{ name: 'one', content: 'one' }])] };
const OCI = 'application/vnd.oci.image.manifest.v1+json';
const DOCKER = 'application/vnd.docker.distribution.manifest.v2+json';

interface Told {
  readonly layer?: Buffer;
  readonly labels?: Readonly<Record<string, string>>;
  /** Changes the manifest before it is given. */
  readonly change?: (manifest: Record<string, unknown>) => unknown;
  readonly mediaType?: string;
}

/** The image of a disk, as anybody can make one. */
function imageOf({ layer = makeTar([]), labels = {}, change = (it) => it, mediaType = OCI }: Told): Lies {
  const config = Buffer.from(
    JSON.stringify({
      architecture: 'amd64',
      os: 'linux',
      config: { Labels: labels },
      rootfs: { type: 'layers', diff_ids: [sha256(layer)] },
    }),
  );
  const of = (type: string, bytes: Buffer): object => ({ mediaType: type, digest: sha256(bytes), size: bytes.length });
  const isOci = mediaType === OCI;
  const manifest = change({
    schemaVersion: 2,
    mediaType,
    config: of(
      isOci ? 'application/vnd.oci.image.config.v1+json' : 'application/vnd.docker.container.image.v1+json',
      config,
    ),
    layers: [
      of(isOci ? 'application/vnd.oci.image.layer.v1.tar' : 'application/vnd.docker.image.rootfs.diff.tar.gzip', layer),
    ],
  });
  return {
    manifest: Buffer.isBuffer(manifest) ? manifest : Buffer.from(JSON.stringify(manifest)),
    mediaType,
    blobs: new Map([
      [sha256(config), config],
      [sha256(layer), layer],
    ]),
  };
}

/** The same, where the layer is answered in another way. */
function answered(lies: Lies, layer: Buffer, answer: (response: ServerResponse) => void): Lies {
  return { ...lies, blobs: new Map([...lies.blobs, [sha256(layer), answer]]) };
}

const layersOf = (manifest: Record<string, unknown>): Record<string, unknown>[] =>
  manifest['layers'] as Record<string, unknown>[];

describe('pull, of a registry that nobody vouches for', () => {
  let tree: TempTree;
  let registry: LyingRegistry;
  let disk: Buffer;
  const at = (name: string): string => path.join(tree.path, name);
  const source = (): string => `docker://${registry.address}/x:1`;
  const pull = (...args: readonly string[]): ReturnType<typeof agent> =>
    agent(['pull', '--quiet', '--insecure', source(), '-o', at('out/disk.qcow2'), ...args]);

  before(async () => {
    await ensureDebianPackages(['skopeo', 'golang-github-containers-common', 'mount'], { install: true });
    tree = await tempTree('dpl-pull');
    registry = await startLyingRegistry();
    for (const folder of ['out', 'small']) mkdirSync(at(folder));
    writeFileSync(at('one.tar'), savedArchive([image]));
    const { exitCode, all } = await agent(['build', '--quiet', at('one.tar'), '-o', at('disk.qcow2')]);
    assert.equal(exitCode, 0, all);
    disk = readFileSync(at('disk.qcow2'));
  });
  beforeEach(() => writeFileSync(at('out/disk.qcow2'), 'as it was'));
  after(cleanUpAll);

  for (const [name, entries, compress, mediaType] of [
    ['as docker build makes it', [{ name: 'disk/', type: '5' }, { name: 'disk/x.qcow2' }], gzipSync, DOCKER],
    ['with zstd', [{ name: './disk/any name' }], zstdCompressSync, OCI],
    ['with an absolute name', [{ name: '/', type: '5' }, { name: '/disk/x' }], (it: Buffer) => it, OCI],
  ] as const)
    it(`takes the image of a disk ${name}`, async () => {
      const layer = compress(
        makeTar((entries as readonly MadeEntry[]).map((one) => (one.type === '5' ? one : { ...one, content: disk }))),
      );
      registry.lies = imageOf({ layer, mediaType });
      const { exitCode, all } = await pull();
      assert.equal(exitCode, 0, all);
      assert.ok(readFileSync(at('out/disk.qcow2')).equals(disk));
    });

  const file: MadeEntry = { name: 'disk/x.qcow2' };
  const tarOf =
    (...entries: readonly MadeEntry[]): (() => Told) =>
    () => ({ layer: makeTar(entries) });
  const withDisk =
    (more: Omit<Told, 'layer'>): (() => Told) =>
    () => ({
      layer: makeTar([{ ...file, content: disk }]),
      ...more,
    });
  for (const [name, lies, says] of [
    [
      'no JSON',
      withDisk({ change: () => Buffer.from('\0\u001b[2J') }),
      /expected the manifest of an image, found something else/,
    ],
    [
      'an empty manifest',
      withDisk({ change: () => Buffer.alloc(0) }),
      /expected the manifest of an image, found something else/,
    ],
    [
      'a manifest of 5 MB',
      withDisk({ change: () => Buffer.alloc(5_000_000, ' ') }),
      /exceeded maximum allowed size of 4194304 bytes/,
    ],
    [
      'an index',
      withDisk({
        change: () => ({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] }),
        mediaType: 'application/vnd.oci.image.index.v1+json',
      }),
      /expected the manifest of one image, found the media type "application\/vnd\.oci\.image\.index/,
    ],
    ['no layer', withDisk({ change: (it) => ({ ...it, layers: [] }) }), /which has one layer, found 0/],
    ['two layers', withDisk({ change: (it) => ({ ...it, layers: [...layersOf(it), ...layersOf(it)] }) }), /found 2/],
    [
      'a layer of an exabyte',
      withDisk({ change: (it) => ({ ...it, layers: layersOf(it).map((one) => ({ ...one, size: 2 ** 52 })) }) }),
      /expected room for \d+\.\d [MG]B in \S+, found/,
    ],
    [
      'a layer that is shorter than it says',
      withDisk({ change: (it) => ({ ...it, layers: layersOf(it).map((one) => ({ ...one, size: 1_000_000 })) }) }),
      /expected a layer of 1000000 bytes, found \d+/,
    ],
    [
      'a layer that is not there',
      withDisk({
        change: (it) => ({ ...it, layers: layersOf(it).map((one) => ({ ...one, digest: sha256(Buffer.from('no')) })) }),
      }),
      /404 \(Not Found\)/,
    ],
    [
      'a digest that leads elsewhere',
      withDisk({
        change: (it) => ({
          ...it,
          layers: layersOf(it).map((one) => ({ ...one, digest: 'sha256:../../../../etc/passwd' })),
        }),
      }),
      /expected a sha256 digest/,
    ],
    ['no file', tarOf(), /expected a file in \/disk, found none/],
    [
      'two files',
      tarOf(file, { name: 'disk/y' }),
      /expected one file in \/disk and nothing else, found also 'disk\/y'/,
    ],
    ['a file elsewhere', tarOf({ name: 'etc/passwd' }), /found 'etc\/passwd'/],
    ['a file above /disk', tarOf({ name: 'disk/../etc/passwd' }), /found 'disk\/..\/etc\/passwd'/],
    ['a file below a folder', tarOf({ name: 'disk/a/b' }), /found 'disk\/a\/b'/],
    ['a name that moves the cursor', tarOf({ name: 'x\u001b[2J' }), /found 'x\\u001b\[2J'/],
    ['a symlink', tarOf({ ...file, type: '2', linkName: '/etc/shadow' }), /expected one file .*found 'disk\/x/],
    ['a hard link', tarOf({ ...file, type: '1', linkName: '/etc/shadow' }), /expected one file .*found 'disk\/x/],
    ['a device', tarOf({ ...file, type: '4', deviceMajor: 8 }), /expected one file .*found 'disk\/x/],
    ['a whiteout', tarOf({ name: 'disk/.wh.x' }), /found 'disk\/\.wh\.x'/],
    [
      'a sparse file',
      tarOf({ ...file, pax: { 'GNU.sparse.map': '0,0', 'GNU.sparse.size': '99999999', 'GNU.sparse.numblocks': '1' } }),
      /expected one file/,
    ],
    ['an empty disk', tarOf(file), /expected a raw image or qcow2/],
    ['what is no disk', tarOf({ ...file, content: Buffer.alloc(70_000, 'x') }), /expected a raw image or qcow2/],
    ['half a disk', () => ({ layer: makeTar([{ ...file, content: disk.subarray(0, disk.length / 2) }]) }), /cut off/],
    [
      'a layer that is cut off',
      () => ({ layer: makeTar([{ ...file, content: disk }]).subarray(0, 40_000) }),
      /expected \d+ more bytes/,
    ],
    ['no tar', () => ({ layer: Buffer.alloc(4096, 'no tar') }), /checksum: expected octal digits/],
    ['an empty layer', () => ({ layer: Buffer.alloc(0) }), /expected a file in \/disk, found none/],
    [
      'gzip that is cut off',
      () => ({ layer: gzipSync(makeTar([{ ...file, content: disk }])).subarray(0, 900) }),
      /expected whole gzip data, found the end/,
    ],
    [
      'zstd of much more than it is',
      () => ({ layer: zstdCompressSync(makeTar([{ ...file, content: Buffer.alloc(200_000_000) }])) }),
      /expected at most 1032 times/,
    ],
    [
      'another digest on its label',
      withDisk({ labels: { 'docker-preloader.disk': sha256(Buffer.from('no')) } }),
      /expected a disk sha256:\w+, found sha256:/,
    ],
    [
      'another manifest on its label',
      withDisk({ labels: { 'docker-preloader.manifest': 'sha256:0' } }),
      /expected a disk with the manifest sha256:0, found sha256:/,
    ],
  ] as const satisfies readonly (readonly [string, () => Told, RegExp])[]) {
    it(`refuses ${name}`, async () => {
      registry.lies = imageOf(lies());
      await refused(says);
    });
  }

  async function refused(says: RegExp): Promise<void> {
    const { exitCode, stdout, stderr } = await pull();
    assert.match(stderr, says);
    assert.match(stderr, /^docker-preloader: docker:[^\n]+\n?$/);
    assert.deepEqual([exitCode, stdout], [1, '']);
    assert.deepEqual(readdirSync(at('out')), ['disk.qcow2']);
    assert.equal(readFileSync(at('out/disk.qcow2'), 'utf8'), 'as it was');
  }

  it('refuses other bytes than the layer has', async () => {
    const lies = imageOf({ layer: makeTar([{ ...file, content: disk }]) });
    const blobs = new Map(
      [...lies.blobs].map(([digest, bytes]) => {
        const changed = Buffer.from(bytes as Buffer);
        if (changed.length > 10_000) changed[9000] = (changed[9000] ?? 0) ^ 1;
        return [digest, changed] as const;
      }),
    );
    registry.lies = { ...lies, blobs };
    await refused(/Digest did not match/);
  });

  it('refuses a layer without end, and has written no more of it than it should have', async () => {
    const layer = makeTar([{ ...file, content: disk }]);
    let sent = 0;
    registry.lies = answered(imageOf({ layer }), layer, (response) => {
      response.writeHead(200);
      const more = (): void => {
        while (!response.destroyed) {
          sent += 1_000_000;
          if (!response.write(Buffer.alloc(1_000_000))) return void response.once('drain', more);
        }
      };
      more();
    });
    await refused(/file too large/);
    assert.ok(sent < 200_000_000, `${sent} bytes were fetched`);
  });

  it('asks again a registry that sends nothing more, and gives up', async () => {
    const layer = makeTar([{ ...file, content: disk }]);
    let asked = 0;
    registry.lies = answered(imageOf({ layer }), layer, (response) => {
      asked += 1;
      response.writeHead(200, { 'content-length': layer.length });
      response.write(layer.subarray(0, 1000));
    });
    const told: string[] = [];
    const limits = { silenceMs: 1500, takenMs: 1500 };
    const access = { authFile: undefined, insecure: true };
    const clients = new ImageClients(tree.path, access, (text) => told.push(text), limits);
    let begun = 0;
    const progress = { onBegin: () => void (begun += 1), onBytes: (): void => undefined };
    await assert.rejects(clients.fetch(source(), 'stalled', 10_000_000, progress), {
      message: `${source()}: expected the registry to go on, found that nothing was sent or taken for 1.5 s`,
    });
    const again = told.filter((line) => line.startsWith('trying again in 1 s: '));
    assert.deepEqual([asked, begun, again.length], [2, 2, 1]);
  });

  it('has nothing left where the filesystem has no room', async () => {
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', at('small')]);
    registry.lies = imageOf({ layer: makeTar([{ ...file, content: disk }]) });
    const { exitCode, stderr } = await agent(['pull', '--quiet', '--insecure', source(), '-o', at('small/disk.qcow2')]);
    assert.match(stderr, /expected room for \d+(?:\.\d)? [kM]B in \S+, found \d+ kB/);
    assert.equal(exitCode, 1);
    assert.deepEqual(readdirSync(at('small')), []);
  });

  it('has nothing left where the room is gone while it comes, and says so', async () => {
    mkdirSync(at('filled'));
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', at('filled')]);
    const layer = makeTar([{ ...file, content: disk }]);
    registry.lies = answered(imageOf({ layer }), layer, (response) => {
      response.writeHead(200, { 'content-length': layer.length });
      response.write(layer.subarray(0, 100_000));
      // Somebody else takes all that is left.
      void execa('dd', ['if=/dev/zero', `of=${at('filled/other')}`, 'bs=4k'], { reject: false }).then(() =>
        response.end(layer.subarray(100_000)),
      );
    });
    const args = ['pull', '--quiet', '--insecure', source(), '-o', at('filled/disk.qcow2')];
    const { exitCode, stderr } = await agent(args);
    assert.equal(exitCode, 1);
    assert.match(
      stderr,
      /^docker-preloader: docker:\S+: skopeo: .*: no space left on device: make room beside the output[^\n]*$/,
    );
    assert.deepEqual(readdirSync(at('filled')), ['other']);
  });

  for (const signal of ['SIGTERM', 'SIGINT', 'SIGKILL'] as const)
    it(`leaves nothing where ${signal} ends it, no program either`, async () => {
      const layer = makeTar([{ ...file, content: disk }]);
      let asked = (): void => undefined;
      const isAsked = new Promise<void>((resolve) => (asked = resolve));
      registry.lies = answered(imageOf({ layer }), layer, (response) => {
        response.writeHead(200, { 'content-length': layer.length });
        response.write(layer.subarray(0, 100_000), asked);
      });
      const [command, ...first] = agentCommand();
      const child = spawn(command, [...first, 'pull', '--insecure', source(), '-o', at('out/disk.qcow2')], {
        stdio: 'ignore',
      });
      const ended = once(child, 'exit');
      await isAsked;
      child.kill(signal);
      assert.deepEqual(await ended, [null, signal]);
      // Nobody is there any more to remove the folder, as the README says.
      const left = readdirSync(at('out')).filter((name) => name !== 'disk.qcow2');
      assert.equal(left.length, signal === 'SIGKILL' ? 1 : 0, left.join(' '));
      for (const name of left) rmSync(at(`out/${name}`), { recursive: true });
      assert.equal(readFileSync(at('out/disk.qcow2'), 'utf8'), 'as it was');
      const isGone = async (): Promise<boolean> =>
        !(await execa('ps', ['-eo', 'args'])).stdout.includes(`${registry.address}/x`);
      if (signal === 'SIGKILL') await until('skopeo to be gone', isGone);
      else assert.ok(await isGone());
    });
});
