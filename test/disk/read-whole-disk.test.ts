import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { execa } from 'execa';
import { BlockWriter } from '../../agent/builder/filesystem/block-writer.ts';
import { openDisk } from '../../agent/disk/open-disk.ts';
import { readWholeDisk, type WholeDisk } from '../../agent/disk/read-whole-disk.ts';
import { metadataPaths, type MetadataPaths } from '../../agent/docker/layer-db.ts';
import { factsOf, loadImages, must, writeFile, type ImageSpec } from '../boot/fake-store.ts';
import { makeDiskFile } from '../safety/disk-file.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { tempTree, unmountBelow, type TempTree } from '../support/temp-tree.ts';

const MIB = 2 ** 20;
const app: ImageSpec = {
  layers: ['base', 'app'],
  references: ['app:1', 'app:2'],
  source: 'docker.io/library/app',
};
const tool: ImageSpec = { layers: ['base'], references: ['tool:1'] };
const top = must(factsOf(app).chains[1]);
const bottom = must(factsOf(app).chains[0]);
const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;

interface Spoiled {
  readonly root: string;
  readonly paths: MetadataPaths;
}

interface Case {
  readonly is: string;
  readonly spoil: (disk: Spoiled) => void;
  /** What is wrong, in this order: all of it, or what the disk as a whole is refused with. */
  readonly says: readonly RegExp[] | RegExp;
  readonly names?: number;
  readonly layers?: number;
}

const record =
  (hex: string, files: Readonly<Record<string, string>>) =>
  ({ paths }: Spoiled): void => {
    for (const [name, text] of Object.entries(files)) writeFile(`${paths.layers}/${hex}/${name}`, text);
  };
const manifest = (root: string, more: Readonly<Record<string, unknown>>): void =>
  writeFileSync(
    path.join(root, 'docker-preloader.json'),
    JSON.stringify({ formatVersion: '1.0', createdBy: 'test', images: [], layers: [], metadata: {}, ...more }),
  );

const cases: readonly Case[] = [
  { is: 'nothing wrong', spoil: () => undefined, says: [] },
  {
    is: 'a manifest of 40 MiB',
    spoil: ({ root }) => manifest(root, { createdBy: 'x'.repeat(40 * MIB) }),
    says: /^docker-preloader\.json: expected at most 33554432 bytes, found 419\d{5}$/,
  },
  {
    is: 'a manifest of 31 MiB',
    spoil: ({ root }) => manifest(root, { createdBy: 'x'.repeat(31 * MIB) }),
    says: [],
  },
  {
    is: 'repositories.json of 10 MiB',
    spoil: ({ paths }) => {
      const document = JSON.parse(readFileSync(paths.repositories, 'utf8')) as object;
      writeFileSync(paths.repositories, JSON.stringify({ ...document, more: 'x'.repeat(10 * MIB) }));
    },
    says: [
      /^no name is taken from it: repositories\.json: \S+repositories\.json: expected at most 8388608 bytes, found 1048\d{4}$/,
    ],
    names: 0,
  },
  {
    is: 'repositories.json of 7 MiB',
    spoil: ({ paths }) => {
      const document = JSON.parse(readFileSync(paths.repositories, 'utf8')) as object;
      writeFileSync(paths.repositories, JSON.stringify({ ...document, more: 'x'.repeat(7 * MIB) }));
    },
    says: [],
  },
  {
    is: 'layers that no image stands on, one of them whole, and what dockerd has left of one',
    spoil: (disk) => {
      record('a'.repeat(64), { diff: digest('a'), 'cache-id': 'aa', size: '1' })(disk);
      record('b'.repeat(64), { diff: digest('c'), 'cache-id': 'bb', size: '1' })(disk);
      record('c'.repeat(64), { diff: digest('c'), 'cache-id': '../../etc', size: '1' })(disk);
      record('d'.repeat(64), { diff: digest('d'), 'cache-id': 'dd', size: '1 MB' })(disk);
      record('e'.repeat(64), { diff: digest('e'), 'cache-id': 'ee', size: '1'.repeat(5000) })(disk);
      record(`${'f'.repeat(64)}-1234-removing`, { diff: 'anything' })(disk);
    },
    says: [
      /^layer sha256:b{64}: expected the ChainID of its parent and DiffID, found another$/,
      /^layer sha256:c{64}: expected a record with diff, cache-id and size, found a damaged one$/,
      /^layer sha256:d{64}: expected a record/,
      /^layer sha256:e{64}: expected a record/,
    ],
    layers: 4,
  },
  {
    is: 'no record of a layer',
    spoil: ({ paths }) => rmSync(paths.layer(top), { recursive: true }),
    says: [/^image sha256:\w{64}: 1 of its 2 layers is neither here nor on a base disk$/],
    layers: 1,
  },
  {
    is: 'no record of a layer that a base disk has',
    spoil: ({ root, paths }) => {
      rmSync(paths.layer(bottom), { recursive: true });
      manifest(root, { bases: [{ label: 'dpl-base', manifest: digest('b'), layers: [bottom] }] });
    },
    says: [],
    layers: 1,
  },
  {
    is: 'a cache-id that is a symlink out of the disk',
    spoil: ({ paths }) => {
      rmSync(`${paths.layer(top)}/cache-id`);
      symlinkSync('/etc/hostname', `${paths.layer(top)}/cache-id`);
    },
    says: [
      /^\S+cache-id: expected a regular file, found (a symlink|something else)$/,
      /^image sha256:\w{64}: 1 of its 2 layers is neither here/,
    ],
    layers: 1,
  },
  {
    is: 'files of a layer behind a symlink within the disk',
    spoil: ({ root }) => {
      renameSync(path.join(root, 'overlay2'), path.join(root, 'moved'));
      symlinkSync('moved', path.join(root, 'overlay2'));
    },
    says: /^expected the folders image\/overlay2 and overlay2/,
  },
  {
    is: 'a configuration with a name that is no text',
    spoil: ({ paths }) =>
      writeFileSync(Buffer.concat([Buffer.from(`${paths.images}/`), Buffer.from([0xc3, 0xa9, 0xff])]), '{}'),
    says: [/^imagedb: expected names of 64 hex digits, found 'é\uFFFD'$/],
  },
  {
    is: 'a list to read ahead',
    spoil: ({ root }) =>
      writeFileSync(path.join(root, 'docker-preloader-read-ahead.json'), '{"formatVersion":"1.0","layers":[]}'),
    says: [],
  },
  {
    is: 'a list to read ahead of a newer format',
    spoil: ({ root }) => writeFileSync(path.join(root, 'docker-preloader-read-ahead.json'), '{"formatVersion":"2.0"}'),
    says: [/^docker-preloader-read-ahead\.json: .*a newer docker-preloader is needed$/],
  },
  {
    is: 'a list to read ahead that is a folder',
    spoil: ({ root }) => mkdirSync(path.join(root, 'docker-preloader-read-ahead.json')),
    says: [/^docker-preloader-read-ahead\.json: expected a regular file, found something else$/],
  },
];

type Answer = Pick<WholeDisk, 'problems' | 'readAhead' | 'layers'> & {
  readonly manifest: string | undefined;
  readonly images: readonly string[];
  readonly usable: readonly string[];
  readonly names: ReadonlyMap<string, string>;
};

/**
 * What is read of a disk, or what it is refused with; in messages without where it is. Only an open of a symlink tells
 * it from what else is no file.
 */
function answerOf(disk: string): Answer | string {
  const plain = (message: string): string => message.replaceAll(`${disk}/`, '').replace('a symlink', 'something else');
  const { files } = openDisk(disk);
  try {
    const { content, problems, ...whole } = readWholeDisk(files);
    return {
      ...whole,
      problems: problems.map(plain),
      manifest: content.manifestDigest,
      images: [...content.images.keys()],
      usable: [...content.layers.keys()],
      names: content.references,
    };
  } catch (error) {
    assert.ok(error instanceof Error);
    return plain(error.message);
  } finally {
    files.close();
  }
}

describe('a disk gets the same answer in a folder, as ext4 and as erofs, mounted and not, and as qcow2, with', () => {
  let tree: TempTree;
  before(async () => {
    tree = await tempTree('dpl-whole');
    await ensureDebianPackages(['e2fsprogs', 'erofs-utils'], { install: true });
  });
  after(cleanUpAll);

  for (const [number, { is, spoil, says, names = 3, layers = 2 }] of cases.entries()) {
    it(is, async () => {
      const at = (name: string): string => path.join(tree.path, `${number}-${name}`);
      const root = at('folder');
      loadImages(root, [app, tool], 'whole');
      spoil({ root, paths: metadataPaths(root) });

      const answer = answerOf(root);
      if (typeof answer === 'string') assert.match(answer, says instanceof RegExp ? says : /^nothing: it is read$/);
      else {
        const expected = says instanceof RegExp ? [/^refused$/] : says;
        assert.equal(answer.problems.length, expected.length, answer.problems.join('\n'));
        for (const [index, pattern] of expected.entries()) assert.match(answer.problems[index] ?? '', pattern);
        assert.deepEqual([answer.images.length, answer.names.size, answer.layers.length], [2, names, layers]);
      }

      await makeDiskFile(root, at('ext4'), 'dpl-whole');
      await execa('mkfs.erofs', ['--quiet', at('erofs'), root]);
      const bytes = readFileSync(at('ext4'));
      const qcow2 = new BlockWriter(at('qcow2'), 'qcow2');
      qcow2.append(bytes);
      qcow2.finish(bytes.length);
      qcow2.close();
      for (const place of ['ext4', 'erofs', 'qcow2']) assert.deepEqual(answerOf(at(place)), answer, place);
      mkdirSync(at('mounted'));
      for (const filesystem of ['ext4', 'erofs']) {
        await execa('mount', ['-t', filesystem, '-o', 'loop,ro', at(filesystem), at('mounted')]);
        assert.deepEqual(answerOf(at('mounted')), answer, `mounted ${filesystem}`);
        await unmountBelow(at('mounted'));
      }
    });
  }
});
