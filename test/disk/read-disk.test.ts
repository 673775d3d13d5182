import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { FolderReader } from '../../agent/disk/folder-reader.ts';
import { readDisk, type DiskContent } from '../../agent/disk/read-disk.ts';
import { metadataPaths, type MetadataPaths } from '../../agent/docker/layer-db.ts';
import { codesOf, FakeGuest } from '../boot/fake-guest.ts';
import { factsOf, imageProblems, loadImages, must, references, type ImageSpec } from '../boot/fake-store.ts';
import { readTree } from '../support/tree.ts';
import { scratch } from '../support/temp-tree.ts';

const good: ImageSpec = { layers: ['base', 'good'], references: ['good:1'] };
const bad: ImageSpec = { layers: ['base', 'bad'], references: ['bad:1'] };
const badID = factsOf(bad).id;
const badTop = must(factsOf(bad).chains[1]);
const secret = 'secret of the guest';

interface Spoiled {
  readonly root: string;
  readonly paths: MetadataPaths;
  /** overlay2/<id> of the bad image's top layer. */
  readonly overlay: string;
  /** Outside of the disk. */
  readonly outside: string;
}

interface Case {
  readonly is: string;
  readonly spoil: (disk: Spoiled) => void;
  readonly code: string;
  readonly says: RegExp;
}

const replace = (file: string, make: (file: string) => void): void => {
  rmSync(file, { recursive: true, force: true });
  make(file);
};
const fifo = (file: string): void => void execFileSync('mkfifo', [file]);
const device = (file: string): void => void execFileSync('mknod', [file, 'c', '1', '5']);
const recordFile =
  (name: string, text: string) =>
  ({ paths }: Spoiled): void =>
    writeFileSync(`${paths.layer(badTop)}/${name}`, text);
const recordOdd =
  (name: string, make: (file: string) => void) =>
  ({ paths }: Spoiled): void =>
    replace(`${paths.layer(badTop)}/${name}`, make);
const config =
  (make: (file: string) => void) =>
  ({ paths }: Spoiled): void =>
    replace(paths.image(badID), make);
const repositories =
  (change: (all: Record<string, unknown>) => void) =>
  ({ paths }: Spoiled): void => {
    const document = JSON.parse(readFileSync(paths.repositories, 'utf8')) as { Repositories: Record<string, unknown> };
    delete document.Repositories['bad'];
    change(document.Repositories);
    writeFileSync(paths.repositories, JSON.stringify(document));
  };

/** Each costs the bad image, or its name, and never the good one. */
const cases: readonly Case[] = [
  {
    is: "a layer's files are a symlink into the guest",
    spoil: ({ overlay, outside }) => replace(`${overlay}/diff`, (file) => symlinkSync(outside, file)),
    code: 'LAYER_INVALID',
    says: /diff: expected a folder on the disk's own filesystem, found none/,
  },
  {
    is: "a layer's folder is a symlink into the guest",
    spoil: ({ overlay, outside }) => {
      mkdirSync(`${outside}/diff`);
      replace(overlay, (file) => symlinkSync(outside, file));
    },
    code: 'LAYER_INVALID',
    says: /diff: expected a folder/,
  },
  {
    is: "a layer's files are a file",
    spoil: ({ overlay }) => replace(`${overlay}/diff`, (file) => writeFileSync(file, '')),
    code: 'LAYER_INVALID',
    says: /diff: expected a folder/,
  },
  {
    is: "a layer's files are not there",
    spoil: ({ overlay }) => rmSync(overlay, { recursive: true }),
    code: 'LAYER_INVALID',
    says: /diff: expected a folder/,
  },
  {
    is: "a layer's record is a symlink",
    spoil: ({ paths, outside }) => {
      renameSync(paths.layer(badTop), `${outside}/record`);
      symlinkSync(`${outside}/record`, paths.layer(badTop));
    },
    code: 'IMAGE_INCOMPLETE',
    says: /image bad:1 is left out: 1 of its 2 layers is missing/,
  },
  {
    is: 'a layer has no record',
    spoil: ({ paths }) => rmSync(paths.layer(badTop), { recursive: true }),
    code: 'IMAGE_INCOMPLETE',
    says: /image bad:1 is left out: 1 of its 2 layers is missing/,
  },
  {
    is: 'a cache-id climbs',
    spoil: recordFile('cache-id', '../../../../etc'),
    code: 'LAYER_INVALID',
    says: /cache-id: expected letters, digits and dashes/,
  },
  {
    is: 'a cache-id is a path',
    spoil: recordFile('cache-id', 'a/b'),
    code: 'LAYER_INVALID',
    says: /cache-id: expected letters/,
  },
  {
    is: 'a cache-id is `.`',
    spoil: recordFile('cache-id', '.'),
    code: 'LAYER_INVALID',
    says: /cache-id: expected letters/,
  },
  {
    is: 'a cache-id has a line break',
    spoil: recordFile('cache-id', 'a\nb'),
    code: 'LAYER_INVALID',
    says: /cache-id: expected letters/,
  },
  {
    is: 'a cache-id is empty',
    spoil: recordFile('cache-id', ''),
    code: 'LAYER_INVALID',
    says: /cache-id: expected letters/,
  },
  {
    is: 'a cache-id is a symlink',
    spoil: recordOdd('cache-id', (file) => symlinkSync('/etc/hostname', file)),
    code: 'LAYER_INVALID',
    says: /cache-id: expected a regular file, found a symlink/,
  },
  {
    is: 'a cache-id is a fifo',
    spoil: recordOdd('cache-id', fifo),
    code: 'LAYER_INVALID',
    says: /cache-id: expected a regular file, found something else/,
  },
  {
    is: 'a cache-id is a folder',
    spoil: recordOdd('cache-id', (file) => mkdirSync(file)),
    code: 'LAYER_INVALID',
    says: /cache-id: expected a regular file, found something else/,
  },
  {
    is: 'a cache-id is a device',
    spoil: recordOdd('cache-id', device),
    code: 'LAYER_INVALID',
    says: /cache-id: expected a regular file, found something else/,
  },
  {
    is: 'a size is 10 GB of nothing',
    spoil: recordOdd('size', (file) => {
      writeFileSync(file, '');
      truncateSync(file, 10e9);
    }),
    code: 'LAYER_INVALID',
    says: /size: expected at most 4096 bytes, found 10000000000/,
  },
  {
    is: 'a size is no number',
    spoil: recordFile('size', '12\n'),
    code: 'LAYER_INVALID',
    says: /size: expected a number of bytes/,
  },
  {
    is: 'a size is negative',
    spoil: recordFile('size', '-1'),
    code: 'LAYER_INVALID',
    says: /size: expected a number of bytes/,
  },
  {
    is: 'a diffID is another',
    spoil: recordFile('diff', `sha256:${'a'.repeat(64)}`),
    code: 'LAYER_INVALID',
    says: /diff: expected sha256:[0-9a-f]{64}, found something else/,
  },
  {
    is: 'a parent is another',
    spoil: recordFile('parent', `sha256:${'a'.repeat(64)}`),
    code: 'LAYER_INVALID',
    says: /parent: expected sha256:[0-9a-f]{64}, found something else/,
  },
  {
    is: 'a parent is missing',
    spoil: ({ paths }) => rmSync(`${paths.layer(badTop)}/parent`),
    code: 'LAYER_INVALID',
    says: /parent: expected sha256:[0-9a-f]{64}/,
  },
  {
    is: 'a parent is the layer itself',
    spoil: recordFile('parent', badTop),
    code: 'LAYER_INVALID',
    says: /parent: expected sha256:[0-9a-f]{64}/,
  },
  {
    is: 'a tar-split is a symlink',
    spoil: recordOdd('tar-split.json.gz', (file) => symlinkSync('/etc/passwd', file)),
    code: 'LAYER_INVALID',
    says: /tar-split\.json\.gz: expected a regular file, found something else/,
  },
  {
    is: 'a tar-split is a fifo',
    spoil: recordOdd('tar-split.json.gz', fifo),
    code: 'LAYER_INVALID',
    says: /tar-split\.json\.gz: expected a regular file, found something else/,
  },
  {
    is: 'a tar-split is 10 GB of nothing',
    spoil: recordOdd('tar-split.json.gz', (file) => {
      writeFileSync(file, '');
      truncateSync(file, 10e9);
    }),
    code: 'LAYER_INVALID',
    says: /tar-split\.json\.gz: expected at most 1073741824 bytes, found 10000000000/,
  },
  {
    is: 'a configuration is another',
    spoil: config((file) => writeFileSync(file, '{"rootfs":{"diff_ids":[]}}')),
    code: 'IMAGE_INVALID',
    says: /expected a configuration with digest sha256:[0-9a-f]{64}, found sha256:/,
  },
  {
    is: 'a configuration is a symlink',
    spoil: config((file) => symlinkSync('/etc/passwd', file)),
    code: 'IMAGE_INVALID',
    says: /expected a regular file, found a symlink/,
  },
  {
    is: 'a configuration is a fifo',
    spoil: config(fifo),
    code: 'IMAGE_INVALID',
    says: /expected a regular file, found something else/,
  },
  {
    is: 'a configuration is 10 GB of nothing',
    spoil: config((file) => {
      writeFileSync(file, '');
      truncateSync(file, 10e9);
    }),
    code: 'IMAGE_INVALID',
    says: /expected at most 8388608 bytes, found 10000000000/,
  },
  {
    is: 'a configuration is empty',
    spoil: config((file) => writeFileSync(file, '')),
    code: 'IMAGE_INVALID',
    says: /a configuration with digest/,
  },
  {
    is: 'a configuration has a name that is no digest',
    spoil: ({ paths }) => renameSync(paths.image(badID), `${paths.images}/evil\u001b[31m`),
    code: 'IMAGE_INVALID',
    says: /expected names of 64 hex digits, found 'evil\\x1b\[31m'/,
  },
  {
    is: 'metadata is a fifo',
    spoil: ({ paths }) => replace(`${paths.imageMetadata(badID)}/lastUpdated`, fifo),
    code: 'IMAGE_INVALID',
    says: /lastUpdated: expected a regular file/,
  },
  {
    is: 'a name names what is not there',
    spoil: repositories((all) => (all['bad'] = { 'bad:1': `sha256:${'a'.repeat(64)}` })),
    code: 'REFERENCE_INVALID',
    says: /bad:1 is left out: it names an image that is not on the disk/,
  },
  {
    is: 'a name names no digest',
    spoil: repositories((all) => (all['bad'] = { 'bad:1': '../../etc/passwd' })),
    code: 'REFERENCE_INVALID',
    says: /bad:1 is left out/,
  },
  {
    is: 'a name names a list',
    spoil: repositories((all) => (all['bad'] = { 'bad:1': [[[]]] })),
    code: 'REFERENCE_INVALID',
    says: /bad:1 is left out/,
  },
  {
    is: 'a name has terminal escapes',
    spoil: repositories((all) => (all['bad'] = { 'bad:\u001b[2J\u0007\n\u009b1': badID })),
    code: 'REFERENCE_INVALID',
    says: /'bad:\\x1b\[2J\\x07\\x0a\\x9b1' is left out: it is no valid image reference/,
  },
  {
    is: 'a name is `__proto__`',
    spoil: repositories((all) =>
      Object.defineProperty(all, '__proto__', { enumerable: true, value: { '__proto__:1': badID } }),
    ),
    code: 'REFERENCE_INVALID',
    says: /'__proto__:1' is left out/,
  },
  {
    is: 'a name stands under another repository',
    spoil: repositories((all) => (all['good'] = { 'bad:1': badID, 'good:1': factsOf(good).id })),
    code: 'REFERENCE_INVALID',
    says: /'bad:1' is left out/,
  },
  {
    is: 'a name is `sha256`',
    spoil: repositories((all) => (all['sha256'] = { 'sha256:1': badID })),
    code: 'REFERENCE_INVALID',
    says: /'sha256:1' is left out/,
  },
];

function spoiled(folder: string, spoil: (disk: Spoiled) => void): string {
  const root = path.join(folder, 'disks/dpl-bad');
  loadImages(root, [good, bad], 'disk');
  const outside = path.join(folder, 'outside');
  mkdirSync(outside);
  writeFileSync(`${outside}/file`, secret);
  const paths = metadataPaths(root);
  spoil({
    root,
    paths,
    outside,
    overlay: path.join(root, 'overlay2', readFileSync(`${paths.layer(badTop)}/cache-id`, 'utf8')),
  });
  return root;
}

describe('a disk where', () => {
  for (const { is, spoil, code, says } of cases) {
    it(`${is}: it is said in one line, and the other image works`, (t) => {
      const folder = scratch(t);
      const guest = new FakeGuest(folder);
      guest.attach('dpl-bad', []);
      rmSync(guest.diskPath('dpl-bad'), { recursive: true });
      spoiled(folder, spoil);
      const planned = guest.boot();
      const found = planned.findings.filter((finding) => finding.code === code);
      assert.equal(found.length, 1, codesOf(planned).join());
      assert.match(found[0]?.message ?? '', says);
      assert.match(found[0]?.message ?? '', /^disk dpl-bad: /);
      // oxlint-disable-next-line no-control-regex -- none may be left
      for (const { message } of planned.findings) assert.doesNotMatch(message, /[\u0000-\u001f\u007f-\u009f]/);
      assert.deepEqual(imageProblems(guest.dataRoot, good), []);
      assert.deepEqual([...references(guest.dataRoot).keys()], ['good:1']);
      assert.ok(![...readTree(guest.dataRoot).values()].some((kind) => kind.includes(secret)));
      assert.deepEqual(guest.plan().steps, []);
    });
  }
});

describe('a disk as a whole', () => {
  const read = (folder: string, spoil: (disk: Spoiled) => void): DiskContent =>
    readDisk('dpl-bad', new FolderReader(spoiled(folder, spoil)));

  for (const name of ['image', 'image/overlay2', 'overlay2'] as const) {
    it(`is left out where ${name} is a symlink`, (t) => {
      const move = ({ root, outside }: Spoiled): void => {
        renameSync(path.join(root, name), `${outside}/moved`);
        symlinkSync(`${outside}/moved`, path.join(root, name));
      };
      assert.throws(() => read(scratch(t), move), {
        code: 'DISK_LAYOUT',
        message: /expected the folders image\/overlay2 and overlay2, as dockerd writes them, found none/,
      });
    });
  }

  for (const name of ['imagedb', 'imagedb/content', 'imagedb/content/sha256'] as const) {
    it(`has no image where ${name} is a symlink`, (t) => {
      const move = ({ paths, outside }: Spoiled): void => {
        renameSync(path.join(paths.root, name), `${outside}/moved`);
        symlinkSync(`${outside}/moved`, path.join(paths.root, name));
      };
      assert.equal(read(scratch(t), move).images.size, 0);
    });
  }

  for (const name of ['layerdb', 'layerdb/sha256'] as const) {
    it(`has no layer where ${name} is a symlink`, (t) => {
      const move = ({ paths, outside }: Spoiled): void => {
        renameSync(path.join(paths.root, name), `${outside}/moved`);
        symlinkSync(`${outside}/moved`, path.join(paths.root, name));
      };
      assert.equal(read(scratch(t), move).layers.size, 0);
    });
  }

  for (const { is, make } of [
    { is: 'nothing', make: (file: string) => rmSync(file) },
    { is: 'empty', make: (file: string) => writeFileSync(file, '') },
    { is: 'a list', make: (file: string) => writeFileSync(file, '[1]') },
    {
      is: 'of wrong types',
      make: (file: string) => writeFileSync(file, '{"Repositories":{"good":7,"bad":[],"x":null}}'),
    },
    { is: 'a fifo', make: (file: string) => replace(file, fifo) },
    { is: 'a symlink', make: (file: string) => replace(file, (name) => symlinkSync('/etc/passwd', name)) },
    {
      is: 'very deep',
      make: (file: string) => writeFileSync(file, `{"Repositories":${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}}`),
    },
    { is: '10 GB of nothing', make: (file: string) => truncateSync(file, 10e9) },
  ]) {
    it(`keeps its images without names where repositories.json is ${is}`, (t) => {
      const { images, references: found, findings } = read(scratch(t), ({ paths }) => make(paths.repositories));
      assert.equal(images.size, 2);
      assert.equal(found.size, 0);
      assert.ok(
        findings.every(
          (finding) => finding.code === 'REFERENCE_INVALID' && finding.message.startsWith('disk dpl-bad: '),
        ),
      );
      assert.equal(findings.length > 0, is !== 'nothing');
    });
  }

  it('is read without what dockerd does not read either: mounts, tmp, *-removing, odd names', (t) => {
    const { images, layers, findings } = read(scratch(t), ({ paths }) => {
      mkdirSync(`${paths.containers}/${'a'.repeat(64)}`, { recursive: true });
      mkdirSync(`${paths.layersTemp}/write-set-1`, { recursive: true });
      mkdirSync(`${paths.layer(badTop)}-1234-removing`, { recursive: true });
      mkdirSync(`${paths.layers}/not-hex`, { recursive: true });
    });
    assert.deepEqual([images.size, layers.size, findings.length], [2, 3, 0]);
  });

  it('does not tell of each of thousands of faults', (t) => {
    const { findings } = read(scratch(t), ({ paths }) => {
      for (let index = 0; index < 200; index += 1) writeFileSync(`${paths.images}/fault-${index}`, '');
    });
    assert.equal(findings.length, 51);
    assert.equal(findings.at(-1)?.message, 'disk dpl-bad: 150 more faults');
  });

  it('costs a layer of its own where another disk has a bad one of the same', (t) => {
    const folder = scratch(t);
    const guest = new FakeGuest(folder);
    guest.attach('dpl-good', [bad]);
    guest.attach('dpl-bad', []);
    rmSync(guest.diskPath('dpl-bad'), { recursive: true });
    spoiled(folder, ({ overlay }) => rmSync(overlay, { recursive: true }));
    assert.deepEqual(codesOf(guest.boot()), ['LAYER_INVALID']);
    assert.deepEqual(imageProblems(guest.dataRoot, bad), []);
    assert.ok(existsSync(guest.diskPath('dpl-bad')));
  });
});
