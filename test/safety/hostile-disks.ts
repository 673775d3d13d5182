import { createHash } from 'node:crypto';
import {
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { execaSync } from 'execa';
import { metadataPaths, type MetadataPaths } from '../../agent/docker/layer-db.ts';
import { factsOf, loadImages, must, type ImageFacts, type ImageSpec } from '../boot/fake-store.ts';

/** What a crafted disk has to work with. */
export interface Craft {
  /** The disk's root, before it becomes a filesystem. */
  readonly root: string;
  readonly paths: MetadataPaths;
  /**
   * The image that the fault is in, of two layers; the other one on the disk must stay usable where `spares` says so.
   */
  readonly bad: ImageFacts;
  /** overlay2/<id> of a layer of it. */
  readonly overlay: (layer: number) => string;
  /** layerdb/sha256/<chain> of a layer of it. */
  readonly record: (layer: number) => string;
  readonly good: ImageFacts;
  /** A folder and a file of this machine that nothing may be read from. */
  readonly canary: string;
  /** Where another disk is mounted. */
  readonly otherDisk: string;
}

export interface HostileDisk {
  readonly name: string;
  readonly craft: (craft: Craft) => void;
  /** What the one line says; undefined where the fault costs nothing and needs no word. */
  readonly why: RegExp | undefined;
  /** Whether the other image of the same disk can be used all the same. */
  readonly spares: boolean;
}

const badSpec: ImageSpec = { layers: ['bad base', 'bad top'], references: ['bad:1'] };
export const spareSpec: ImageSpec = { layers: ['spare base', 'spare top'], references: ['spare:1'] };

/** Makes the tree of a hostile disk. */
export function craftTree(root: string, disk: HostileDisk, outside: Pick<Craft, 'canary' | 'otherDisk'>): void {
  loadImages(root, [badSpec, spareSpec], 'hostile');
  const paths = metadataPaths(root);
  const bad = factsOf(badSpec);
  const record = (layer: number): string => paths.layer(must(bad.chains[layer]));
  const cacheIds = [0, 1].map((layer) => readFileSync(`${record(layer)}/cache-id`, 'utf8'));
  disk.craft({
    root,
    paths,
    bad,
    good: factsOf(spareSpec),
    record,
    overlay: (layer) => path.join(root, 'overlay2', must(cacheIds[layer])),
    ...outside,
  });
}

const TEN_GB = 10 * 1024 ** 3;
const replaceBy = (file: string, make: (file: string) => void): void => {
  rmSync(file, { recursive: true, force: true });
  mkdirSync(path.dirname(file), { recursive: true });
  make(file);
};
const link = (file: string, target: string): void => replaceBy(file, () => symlinkSync(target, file));
const fifo = (file: string): void => replaceBy(file, () => void execaSync('mkfifo', [file]));
const device = (file: string, kind: 'b' | 'c', major: number, minor: number): void =>
  replaceBy(file, () => void execaSync('mknod', [file, kind, String(major), String(minor)]));
const socket = (file: string): void =>
  replaceBy(
    file,
    () =>
      void execaSync('perl', [
        '-MSocket',
        '-e',
        'socket(S,PF_UNIX,SOCK_STREAM,0); chdir $ARGV[0]; bind(S,pack_sockaddr_un($ARGV[1])) or die $!',
        path.dirname(file),
        path.basename(file),
      ]),
  );
const folder = (file: string): void => replaceBy(file, () => mkdirSync(file));
const sparse = (file: string, bytes: number = TEN_GB): void =>
  replaceBy(file, () => {
    writeFileSync(file, '');
    truncateSync(file, bytes);
  });
const text = (file: string, content: string | Buffer): void => replaceBy(file, () => writeFileSync(file, content));
const repositories = (craft: Craft, repositoriesOf: unknown): void =>
  text(craft.paths.repositories, JSON.stringify({ Repositories: repositoriesOf }));
const deep = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;
/** Adds an image whose configuration is given, under its right digest. */
const addConfig = (craft: Craft, config: string, reference: string): void => {
  const id = createHash('sha256').update(config).digest('hex');
  text(`${craft.paths.images}/${id}`, config);
  repositories(craft, {
    [reference.split(':')[0] ?? '']: { [reference]: `sha256:${id}` },
    spare: { 'spare:1': craft.good.id },
  });
};
const diffIds = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `sha256:${createHash('sha256').update(`layer ${index}`).digest('hex')}`);

/** A manifest that lists the bad image's upper layer, with something in it that is not so. */
const listed = (craft: Craft, wrong: Readonly<Record<string, unknown>>): void => {
  const { bad, record } = craft;
  const layer = {
    chainId: bad.chains[1],
    diffId: bad.diffIDs[1],
    parent: bad.chains[0],
    cacheId: readFileSync(`${record(1)}/cache-id`, 'utf8'),
    sizeBytes: 1,
    ...wrong,
  };
  text(
    `${craft.root}/docker-preloader.json`,
    JSON.stringify({ formatVersion: '1.0', createdBy: 'nobody', images: [], layers: [layer], metadata: {} }),
  );
};

const cacheId = (name: string, id: string): HostileDisk => ({
  name: `a cache-id ${name}`,
  craft: ({ record }) => text(`${record(1)}/cache-id`, id),
  why: /cache-id|at most 4096|overlay2\/.*a folder/,
  spares: true,
});
const odd = (name: string, craft: HostileDisk['craft'], why: HostileDisk['why'], spares = true): HostileDisk => ({
  name,
  craft,
  why,
  spares,
});

/** The corpus. One fault a disk. */
export const hostileDisks: readonly HostileDisk[] = [
  odd(
    '`diff` a symlink to a folder of the machine',
    ({ overlay, canary }) => link(`${overlay(1)}/diff`, canary),
    /diff: expected a folder on the disk's own filesystem/,
  ),
  odd(
    '`diff` a symlink to another disk',
    ({ overlay, otherDisk }) => link(`${overlay(1)}/diff`, `${otherDisk}/overlay2`),
    /diff: expected a folder on the disk's own filesystem/,
  ),
  odd(
    '`diff` a symlink within the disk',
    ({ overlay }) => link(`${overlay(1)}/diff`, '../../image'),
    /diff: expected a folder on the disk's own filesystem/,
  ),
  odd(
    '`diff` a file',
    ({ overlay }) => text(`${overlay(1)}/diff`, 'file'),
    /diff: expected a folder on the disk's own filesystem/,
  ),
  odd(
    'a layer folder a symlink',
    ({ overlay, canary }) => link(overlay(1), canary),
    /diff: expected a folder on the disk's own filesystem/,
  ),
  odd(
    '`overlay2` a symlink',
    ({ root, canary }) => link(`${root}/overlay2`, canary),
    /folders image\/overlay2 and overlay2/,
    false,
  ),
  odd(
    '`image` a symlink',
    ({ root, canary }) => link(`${root}/image`, canary),
    /folders image\/overlay2 and overlay2/,
    false,
  ),
  odd(
    '`image/overlay2` a symlink',
    ({ root, canary }) => link(`${root}/image/overlay2`, canary),
    /folders image\/overlay2 and overlay2/,
    false,
  ),
  odd(
    '`imagedb` a symlink',
    ({ paths, canary }) => link(path.dirname(paths.images), canary),
    /names an image that is not on the disk/,
    false,
  ),
  odd(
    'a record a symlink',
    ({ record }) => link(record(1), '../../../../../../../../../../../../etc'),
    /1 of its 2 layers is missing/,
  ),
  odd(
    '`layerdb` a symlink',
    ({ paths, canary }) => link(path.dirname(paths.layers), canary),
    /2 of its 2 layers are missing/,
    false,
  ),
  odd(
    'repositories.json a symlink',
    ({ paths }) => link(paths.repositories, '/etc/shadow'),
    /repositories\.json: expected a regular file, found a symlink/,
  ),
  odd(
    'a configuration a symlink',
    ({ paths, bad }) => link(paths.image(bad.id), '/etc/shadow'),
    /is left out: .*: expected a regular file, found a symlink/,
  ),
  odd(
    'a tar-split a symlink',
    ({ record }) => link(`${record(1)}/tar-split.json.gz`, '/etc/shadow'),
    /expected a regular file/,
  ),
  odd(
    'the manifest a symlink',
    ({ root }) => link(`${root}/docker-preloader.json`, '/etc/shadow'),
    /docker-preloader\.json.*/,
    false,
  ),
  odd(
    'metadata a symlink',
    ({ paths, bad }) => link(`${paths.imageMetadata(bad.id)}/parent`, '/etc/shadow'),
    /is left out: .*: expected a regular file, found a symlink/,
  ),
  cacheId('with `..`', '../../../etc'),
  cacheId('of dots', '..'),
  cacheId('with a slash', 'a/b'),
  cacheId('with a newline', 'ab\ncd'),
  cacheId('of 300 bytes', 'a'.repeat(300)),
  cacheId('with a zero byte', 'ab\0cd'),
  cacheId('of 10 kB', 'a'.repeat(10_000)),
  odd(
    'an image id with a newline',
    ({ paths }) => text(`${paths.images}/${'a'.repeat(20)}\n${'b'.repeat(20)}`, '{}'),
    /expected names of 64 hex digits/,
  ),
  odd(
    'an image id with terminal escapes',
    ({ paths }) => text(`${paths.images}/\u001B[31m\u001B]0;title\u0007`, '{}'),
    /expected names of 64 hex digits/,
  ),
  odd(
    'an image id of 255 bytes',
    ({ paths }) => text(`${paths.images}/${'f'.repeat(255)}`, '{}'),
    /expected names of 64 hex digits/,
  ),
  odd('a fifo for repositories.json', ({ paths }) => fifo(paths.repositories), /expected a regular file/),
  odd('a fifo for a configuration', ({ paths, bad }) => fifo(paths.image(bad.id)), /expected a regular file/),
  odd('a fifo for the manifest', ({ root }) => fifo(`${root}/docker-preloader.json`), /expected a regular file/, false),
  odd(
    'a character device for `size`',
    ({ record }) => device(`${record(1)}/size`, 'c', 1, 5),
    /size: |EACCES|permission/,
  ),
  odd(
    'a block device for `cache-id`',
    ({ record }) => device(`${record(1)}/cache-id`, 'b', 7, 0),
    /cache-id: |EACCES|permission/,
  ),
  odd('a socket for `parent`', ({ record }) => socket(`${record(1)}/parent`), /parent: |ENXIO/),
  odd('a folder for `diff` of a record', ({ record }) => folder(`${record(1)}/diff`), /diff: expected a regular file/),
  odd('a folder for repositories.json', ({ paths }) => folder(paths.repositories), /expected a regular file/),
  odd('a fifo for a tar-split', ({ record }) => fifo(`${record(1)}/tar-split.json.gz`), /expected a regular file/),
  odd('a fifo for registry sources', ({ paths, bad }) => fifo(paths.metadataByDiffID(must(bad.diffIDs[0]))), undefined),
  odd(
    'a configuration of 10 GB',
    ({ paths, bad }) => sparse(paths.image(bad.id)),
    /expected at most \d+ bytes, found 10737418240/,
  ),
  odd(
    'repositories.json of 10 GB',
    ({ paths }) => sparse(paths.repositories),
    /expected at most \d+ bytes, found 10737418240/,
  ),
  odd(
    'a manifest of 10 GB',
    ({ root }) => sparse(`${root}/docker-preloader.json`),
    /expected at most \d+ bytes, found 10737418240/,
    false,
  ),
  odd(
    'a tar-split of 10 GB',
    ({ record }) => sparse(`${record(1)}/tar-split.json.gz`),
    /expected at most \d+ bytes, found 10737418240/,
  ),
  odd(
    'a tar-split of 1 GiB of holes',
    ({ record }) => sparse(`${record(1)}/tar-split.json.gz`, 1024 ** 3),
    /tar-split\.json\.gz: of 1073741824 bytes, it takes a layer of at least 64512 files, found fewer/,
  ),
  odd(
    'a tar-split larger than the disk',
    ({ record }) => sparse(`${record(1)}/tar-split.json.gz`, 15_000_000),
    /expected tar-splits of at most \d+ bytes together/,
  ),
  odd(
    'a `size` of 10 GB',
    ({ record }) => sparse(`${record(1)}/size`),
    /expected at most \d+ bytes, found 10737418240/,
  ),
  odd(
    'repositories.json of great depth',
    ({ paths }) => text(paths.repositories, deep(2_000_000)),
    /repositories\.json: /,
  ),
  odd(
    'a manifest of 16 MB of great depth',
    ({ root }) => text(`${root}/docker-preloader.json`, deep(8_000_000)),
    /docker-preloader\.json: expected JSON with at most 500000 values, found more/,
    false,
  ),
  odd(
    'repositories.json of 8 MB of empty lists',
    ({ paths }) => text(paths.repositories, `[${'[],'.repeat(2_700_000)}0]`),
    /repositories\.json: expected JSON with at most 500000 values, found more/,
  ),
  odd(
    'a configuration of 8 MB of great depth',
    (craft) => addConfig(craft, deep(4_000_000), 'bad:1'),
    /is left out: .*expected JSON with at most 500000 values, found more/,
  ),
  odd(
    'a configuration of great depth',
    (craft) => addConfig(craft, `{"rootfs":{"diff_ids":${deep(1_000_000)}}}`, 'bad:1'),
    /is left out: /,
  ),
  odd(
    'a manifest of great depth',
    ({ root }) => text(`${root}/docker-preloader.json`, deep(2_000_000)),
    /docker-preloader\.json: /,
    false,
  ),
  odd(
    'a manifest of 60 MB',
    ({ root }) => text(`${root}/docker-preloader.json`, Buffer.alloc(60_000_000, '0,')),
    /expected at most \d+ bytes, found 60000000/,
    false,
  ),
  odd(
    'a manifest of 16 MB',
    ({ root }) => text(`${root}/docker-preloader.json`, `[${'0,'.repeat(8_000_000)}0]`),
    /docker-preloader\.json: /,
    false,
  ),
  odd(
    'a manifest of 31 MB, of as many values and as much text as are taken',
    ({ root }) => text(`${root}/docker-preloader.json`, largeManifest()),
    undefined,
  ),
  odd(
    '300 MB of configurations',
    ({ paths }) => largeConfigs(paths),
    /at most \d+ bytes of configurations on a disk, found more/,
  ),
  odd(
    '`__proto__` in repositories.json',
    ({ paths, good, bad }) =>
      text(
        paths.repositories,
        `{"__proto__":{"Repositories":{"x":{"x:1":"${bad.id}"}}},"Repositories":{"__proto__":{"__proto__:1":"${bad.id}"},"constructor":{"toString":"${bad.id}"},"spare":{"spare:1":"${good.id}"}}}`,
      ),
    /it is no valid image reference/,
  ),
  odd(
    '`__proto__` in a configuration',
    (craft) => addConfig(craft, '{"__proto__":{"rootfs":{"diff_ids":[]}},"constructor":null}', 'bad:1'),
    /expected an image configuration with `rootfs`/,
  ),
  odd(
    'keys twice in repositories.json',
    ({ paths, bad, good }) =>
      text(
        paths.repositories,
        `{"Repositories":{"bad":{"bad:1":"${bad.id}"}},"Repositories":{"spare":{"spare:1":"sha256:${'0'.repeat(64)}","spare:1":"${good.id}"}}}`,
      ),
    undefined,
  ),
  odd(
    '`Repositories` a list',
    ({ paths }) => text(paths.repositories, '{"Repositories":[1,2,3]}'),
    /repositories\.json/,
  ),
  odd('repositories.json null', ({ paths }) => text(paths.repositories, 'null'), /repositories\.json/),
  odd(
    'numbers for images',
    (craft) =>
      repositories(craft, { bad: { 'bad:1': 7, 'bad:2': null, 'bad:3': {} }, spare: { 'spare:1': craft.good.id } }),
    /names an image that is not on the disk/,
  ),
  odd(
    '`rootfs.diff_ids` of wrong types',
    (craft) => addConfig(craft, '{"rootfs":{"diff_ids":[1,null,{"a":1}]}}', 'bad:1'),
    /expected sha256 digests/,
  ),
  odd(
    'a manifest of wrong types',
    ({ root }) => text(`${root}/docker-preloader.json`, '{"formatVersion":"1.0","createdBy":1,"images":{}}'),
    /docker-preloader\.json: /,
    false,
  ),
  odd(
    'a manifest of a newer major format',
    ({ root }) => text(`${root}/docker-preloader.json`, '{"formatVersion":"2.0"}'),
    /a newer docker-preloader is needed/,
    false,
  ),
  odd(
    'a manifest with a cache-id of `..`',
    (craft) => listed(craft, { cacheId: '../../../etc' }),
    /cache-id: expected letters, digits and dashes/,
  ),
  odd(
    'a manifest with a cache-id that is not there',
    (craft) => listed(craft, { cacheId: 'nothing' }),
    /overlay2\/nothing\/diff: expected a folder on the disk's own filesystem/,
  ),
  odd(
    'a manifest with a layer that is its own parent',
    (craft) => listed(craft, { parent: craft.bad.chains[1] }),
    /parent: expected sha256:[0-9a-f]{64}/,
  ),
  odd(
    'a manifest with a layer of another DiffID',
    (craft) => listed(craft, { diffId: craft.bad.diffIDs[0] }),
    /diff: expected sha256:[0-9a-f]{64}/,
  ),
  odd(
    'a manifest with a layer of less than nothing',
    (craft) => listed(craft, { sizeBytes: -1 }),
    /size: expected a number of bytes/,
  ),
  odd(
    'a configuration with another digest',
    ({ paths, bad }) => text(paths.image(bad.id), `${bad.config} `),
    /expected a configuration with digest sha256:[0-9a-f]{64}/,
  ),
  odd(
    'a chain with a loop',
    ({ record, bad }) => text(`${record(0)}/parent`, must(bad.chains[1])),
    /parent: expected none/,
  ),
  odd(
    'a layer that is its own parent',
    ({ record, bad }) => text(`${record(1)}/parent`, must(bad.chains[1])),
    /parent: expected sha256:[0-9a-f]{64}/,
  ),
  odd('a missing parent', ({ record }) => rmSync(record(0), { recursive: true }), /1 of its 2 layers is missing/),
  odd(
    '5,000 layers',
    (craft) => addConfig(craft, JSON.stringify({ rootfs: { diff_ids: diffIds(5000) } }), 'bad:1'),
    /expected at most 125 layers, found 5000/,
  ),
  odd(
    'names that are no references',
    (craft) =>
      repositories(craft, {
        'BAD NAME': { 'BAD NAME:1': craft.bad.id },
        '../x': { '../x:1': craft.bad.id },
        bad: { 'other:1': craft.bad.id, 'bad:': craft.bad.id },
        spare: { 'spare:1': craft.good.id },
      }),
    /it is no valid image reference/,
  ),
  odd(
    'terminal escapes in names',
    (craft) =>
      repositories(craft, {
        bad: { 'bad:\u001B[2J\u001B]0;x\u0007\u009B31m\u202E\nnewline': craft.bad.id },
        spare: { 'spare:1': craft.good.id },
      }),
    /it is no valid image reference/,
  ),
  odd(
    'a name of 1 MB',
    (craft) =>
      repositories(craft, {
        bad: { [`bad:${'x'.repeat(1_000_000)}`]: craft.bad.id },
        spare: { 'spare:1': craft.good.id },
      }),
    /it is no valid image reference/,
  ),
  odd(
    '300,000 names',
    (craft) =>
      repositories(craft, {
        spare: Object.fromEntries(Array.from({ length: 300_000 }, (_, index) => [`spare:${index + 1}`, craft.good.id])),
      }),
    /expected at most \d+ bytes, found \d+/,
    false,
  ),
  odd(
    '60,000 names',
    (craft) =>
      repositories(craft, {
        spare: Object.fromEntries(Array.from({ length: 60_000 }, (_, index) => [`spare:${index + 1}`, craft.good.id])),
      }),
    /expected at most 10000 names, found 60000/,
  ),
  odd(
    'names of images that are not there',
    (craft) =>
      repositories(craft, { bad: { 'bad:1': `sha256:${'1'.repeat(64)}` }, spare: { 'spare:1': craft.good.id } }),
    /names an image that is not on the disk/,
  ),
  odd('100,000 images', ({ paths }) => manyImages(paths), /expected at most 10000 images, found 10000\d/, false),
  odd(
    'no `image` folder',
    ({ root }) => rmSync(`${root}/image`, { recursive: true }),
    /folders image\/overlay2 and overlay2/,
    false,
  ),
  odd(
    'nothing at all',
    ({ root }) => readdirSync(root).forEach((name) => rmSync(path.join(root, name), { recursive: true })),
    /folders image\/overlay2 and overlay2/,
    false,
  ),
  odd(
    'registry sources of wrong types',
    ({ paths, bad }) =>
      text(
        paths.metadataByDiffID(must(bad.diffIDs[0])),
        '[{"Digest":"../../../../etc/passwd","SourceRepository":1},null,7,{"__proto__":{}}]',
      ),
    undefined,
  ),
  odd('a `size` that is none', ({ record }) => text(`${record(1)}/size`, '-1e9'), /size: expected a number of bytes/),
];

/** What is not known of it is passed over. One sign makes the runtime keep all of it in two bytes each. */
function largeManifest(): string {
  const values = Array.from({ length: 249_500 }, (_, index) => (index % 2 === 0 ? '{}' : `["${'y'.repeat(240)}€"]`));
  return `{"formatVersion":"1.1","createdBy":"€","images":[],"layers":[],"metadata":{},"more":[${values.join(',')}]}`;
}

/** Each of them valid, just large. */
function largeConfigs(paths: MetadataPaths): void {
  for (let number = 0; number < 40; number += 1) {
    const config = JSON.stringify({ rootfs: { diff_ids: [] }, comment: `${number} ${'x'.repeat(7_500_000)}` });
    writeFileSync(`${paths.images}/${createHash('sha256').update(config).digest('hex')}`, config);
  }
}

/** Hard links: as many names take no more room than their folder. */
function manyImages(paths: MetadataPaths): void {
  const name = (number: number): string =>
    `${paths.images}/${createHash('sha256').update(String(number)).digest('hex')}`;
  for (let number = 0; number < 100_000; number += 1) {
    const first = number - (number % 50_000);
    if (number === first) writeFileSync(name(number), '{}');
    else linkSync(name(first), name(number));
  }
}
