import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { agent } from '../support/agent.ts';
import type { LayerEntry } from '../support/docker-archive.ts';
import { busyboxRoot } from '../support/images.ts';
import { startRegistry } from '../support/registry.ts';
import { tempTree } from '../support/temp-tree.ts';
import { layoutArchive, lifeImage, pushed, savedArchive, type LifeImage } from './images.ts';

/** What a build of a disk holds. */
export interface LifeDisk {
  readonly name: string;
  readonly file: string;
  readonly priority: number;
  /** Each image with the names that the disk claims for it, those with digests, too. */
  readonly images: readonly (readonly [image: LifeImage, names: readonly string[]])[];
  /** Layers that are on the disk itself. */
  readonly layers: ReadonlySet<string>;
}

/** What there is for all lives: images, disks that have them, and a registry. */
export interface Universe {
  readonly images: ReadonlyMap<string, LifeImage>;
  readonly disks: readonly LifeDisk[];
  /** By the reference to pull: what comes, and the name with its digest that it gets, too. */
  readonly pulls: ReadonlyMap<string, { readonly image: LifeImage; readonly byDigest: string }>;
  /** Names that the user gives, most of which disks claim, too. */
  readonly names: readonly string[];
}

type Named = readonly [image: string, tags: readonly string[]];

/** Makes all of it: some three seconds. */
export async function makeUniverse(): Promise<Universe> {
  const { path: folder } = await tempTree('dpl-lives');
  const { address } = await startRegistry(path.join(folder, 'registry'));
  const images = await makeImages();
  const of = (name: string): LifeImage => {
    const image = images.get(name);
    assert.ok(image, name);
    return image;
  };
  const pulls = new Map<string, { readonly image: LifeImage; readonly byDigest: string }>();
  for (const [repository, tag, image] of [
    ['pulled', '1', of('pulled')],
    ['pulled', '2', of('one')],
  ] as const) {
    pulls.set(`${address}/${repository}:${tag}`, {
      image,
      byDigest: `${address}/${repository}@${await push(address, repository, tag, image)}`,
    });
  }
  const [first = '', second = ''] = pulls.keys();

  const disks: LifeDisk[] = [];
  const add = async (
    name: string,
    saved: readonly Named[],
    layout: readonly Named[] = [],
    options: { readonly base?: LifeDisk; readonly priority?: number } = {},
  ): Promise<LifeDisk> => {
    const file = path.join(folder, `${name}.ext4`);
    const at = (named: readonly Named[]): [LifeImage, readonly string[]][] =>
      named.map(([image, tags]) => [of(image), tags]);
    const { base, priority = 0 } = options;
    await writeFile(`${file}.saved`, savedArchive(at(saved)));
    await writeFile(`${file}.layout`, layoutArchive(at(layout)));
    const archives = [...(saved.length > 0 ? [`${file}.saved`] : []), ...(layout.length > 0 ? [`${file}.layout`] : [])];
    const { exitCode, all } = await agent([
      'build',
      ...archives,
      '-o',
      file,
      '--format',
      'raw',
      '--quiet',
      '--priority',
      String(priority),
      ...(base === undefined ? [] : ['--base', base.file]),
    ]);
    assert.equal(exitCode, 0, all);
    const claims = [
      ...at(saved),
      ...at(layout).map(
        ([image, tags]) =>
          [image, tags.flatMap((tag) => [tag, `${tag.replace(/:[^:/]*$/, '')}@${pushed(image).digest}`])] as const,
      ),
    ];
    const layers = new Set(
      claims.flatMap(([{ chains }]) => chains).filter((chain) => base?.layers.has(chain) !== true),
    );
    const disk: LifeDisk = { name, file, priority, images: claims, layers };
    disks.push(disk);
    return disk;
  };

  const main = await add(
    'main-1',
    [
      ['one', ['app:1', 'app:latest']],
      ['two', ['web:1']],
      ['solo', ['tool:1']],
    ],
    [['pulled', [first]]],
  );
  await add('main-2', [
    ['three', ['app:latest']],
    ['one', ['app:1']],
    ['more', ['web:1']],
  ]);
  await add(
    'main-3',
    [
      ['two', ['app:1', 'app:latest']],
      ['other', ['web:1']],
      ['solo', ['tool:1', 'tool:2']],
    ],
    [['one', [second, 'app:oci']]],
  );
  await add(
    'side-1',
    [['three', ['tool:1']]],
    [
      ['one', ['app:1', 'side:1']],
      ['pulled', [first]],
    ],
  );
  await add(
    'side-2',
    [
      ['two', ['side:1', 'app:latest']],
      ['other', ['app:1']],
    ],
    [['more', ['web:1', 'more:1']]],
  );
  await add('prior', [['three', ['app:latest', 'web:1']]], [], { priority: 5 });
  await add('based', [['more', ['more:1']]], [['two', ['two:1']]], { base: main });
  return {
    images,
    disks,
    pulls,
    names: ['app:1', 'app:latest', 'web:1', 'tool:1', 'side:1', 'more:1', 'own:1', 'own:2', first],
  };
}

/** On one base but for `solo`; `more` stands on what `one` is, and `other` is of the same layers. */
async function makeImages(): Promise<ReadonlyMap<string, LifeImage>> {
  const base = await busyboxRoot();
  const app = (content: string): LayerEntry => ({ name: 'app', content: `${content}\n` });
  const made = await Promise.all([
    lifeImage('one', [base, [app('one')]]),
    lifeImage('two', [base, [app('two')]]),
    lifeImage('three', [base, [app('three')]]),
    lifeImage('more', [base, [app('one')], [app('more')]]),
    lifeImage('other', [base, [app('one')]], 'of the same layers'),
    lifeImage('solo', [[...base, app('solo')]]),
    lifeImage('pulled', [base, [app('pulled')], [{ name: 'pulled', content: 'pulled\n' }]]),
  ]);
  return new Map(made.map((image) => [image.name, image]));
}

/** What the file `/app` of an image says. */
export function saysOf(image: LifeImage): string {
  return image.name === 'other' ? 'one' : image.name;
}

/** As the registry's API has it (distribution, docs/spec/api.md). @returns the manifest's digest */
async function push(address: string, repository: string, tag: string, image: LifeImage): Promise<string> {
  const { manifest, mediaType, digest, blobs } = pushed(image);
  const at = `http://${address}/v2/${repository}`;
  for (const [name, content] of blobs) {
    const started = await fetch(`${at}/blobs/uploads/`, { method: 'POST' });
    const place = new URL(started.headers.get('location') ?? '', at);
    place.searchParams.set('digest', name);
    const { status } = await fetch(place, {
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream' },
      body: new Uint8Array(content),
    });
    assert.equal(status, 201);
  }
  const { status } = await fetch(`${at}/manifests/${tag}`, {
    method: 'PUT',
    headers: { 'content-type': mediaType },
    body: new Uint8Array(manifest),
  });
  assert.equal(status, 201);
  return digest;
}
