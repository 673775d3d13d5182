import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { cached } from '../support/cache.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { dockerArchive } from '../support/docker-archive.ts';
import { buildImage, busyboxRoot, changingDockerfile, importBase, loadManyLayers } from '../support/images.ts';
import { makeLegacyDisk } from '../support/legacy-disk.ts';
import { startRegistry } from '../support/registry.ts';
import { tempTree } from '../support/temp-tree.ts';

/** An image as the dockerd that made it shows it. */
export interface ImageFacts {
  readonly id: string;
  readonly diffIds: readonly string[];
  /** How many entries `docker history` has for it. */
  readonly history: number;
}

/** What real dockerds made for these tests: disks, and the same images in other forms. */
export interface Fixtures {
  /**
   * By dockerd 20.10: `base:1` of one layer, `multi:1`, `left:1` and `right:1` on it, `twelve:1` of 12 layers, `app:1`.
   * As in 2018: no `committed` on top layers, `layerdb/mounts` and leftovers of interrupted dockerds are there.
   */
  readonly first: string;
  /** By dockerd 28.5: `base:1` and `multi:1` again, so the same layers under other ids, `kit:1` by BuildKit, another `app:1`. */
  readonly second: string;
  /** By dockerd 20.10: `deep:1` of 125 layers. */
  readonly deep: string;
  /** `docker save` of `multi:1`. */
  readonly multiArchive: string;
  /** `docker save` of an `app:1` that no disk has, and of `mine:1`, on no layer of any disk. */
  readonly userArchive: string;
  /** A registry's folder that holds `upper:1`, one layer on `multi:1`, pushed by the dockerd that made the first disk. */
  readonly registry: string;
  /** By disk, then by tag. */
  readonly images: Readonly<Record<'first' | 'second' | 'deep' | 'user', Readonly<Record<string, ImageFacts>>>>;
}

/** Makes the fixtures, or takes those of an earlier run: their key is the content of what makes them. */
export async function fixtures(): Promise<Fixtures> {
  const folder = await cached(`store-fixtures-${recipeDigest()}`, make);
  const file = (name: string): string => path.join(folder, name);
  return {
    first: file('first.ext4'),
    second: file('second.ext4'),
    deep: file('deep.ext4'),
    multiArchive: file('multi.tar'),
    userArchive: file('user.tar'),
    registry: file('registry'),
    images: JSON.parse(await readFile(file('images.json'), 'utf8')) as Fixtures['images'],
  };
}

async function make(folder: string): Promise<void> {
  const file = (name: string): string => path.join(folder, name);
  const app = async (content: string): Promise<Uint8Array> =>
    dockerArchive([{ tags: ['app:1'], layers: [await busyboxRoot(), [{ name: 'app', content }]] }]);

  const first = await produce('20.10', file('first.ext4'), async (dockerd) => {
    await importBase(dockerd, 'base:1');
    await buildImage(dockerd, 'multi:1', changingDockerfile('base:1'), 'classic');
    for (const side of ['left', 'right']) {
      await buildImage(dockerd, `${side}:1`, `FROM base:1\nCOPY side /side\n`, 'classic', { side: `${side}\n` });
    }
    await loadManyLayers(dockerd, 'twelve:1', 12);
    await dockerd.cli(['load'], await app('first\n'));
    await dockerd.cli(['save', '--output', file('multi.tar'), 'base:1', 'multi:1']);
    await buildImage(dockerd, 'upper:1', 'FROM multi:1\nCOPY upper /upper\n', 'classic', { upper: 'upper\n' });
    await push(dockerd, 'upper:1', file('registry'));
    await dockerd.cli(['rmi', 'upper:1']);
    await dockerd.cli(['create', '--network', 'none', 'left:1', 'sh']);
  });
  const second = await produce('28.5', file('second.ext4'), async (dockerd) => {
    await dockerd.cli(['load', '--input', file('multi.tar')]);
    await buildImage(dockerd, 'kit:1', 'FROM base:1\nCOPY kit /kit\nRUN rm /lower/deleted\n', 'buildkit', {
      kit: 'kit\n',
    });
    await dockerd.cli(['load'], await app('second\n'));
  });
  const deep = await produce('20.10', file('deep.ext4'), (dockerd) => loadManyLayers(dockerd, 'deep:1', 125));
  const user = await produce('20.10', undefined, async (dockerd) => {
    await dockerd.cli(['load'], await app('user\n'));
    await dockerd.cli(
      ['load'],
      await dockerArchive([
        { tags: ['mine:1'], layers: [[...(await busyboxRoot()), { name: 'mine', content: 'mine\n' }]] },
      ]),
    );
    await dockerd.cli(['save', '--output', file('user.tar'), 'app:1', 'mine:1']);
  });
  await writeFile(file('images.json'), JSON.stringify({ first, second, deep, user }, undefined, 2));
}

/** Runs a dockerd of its own for `work`, and makes a disk of what it leaves behind. */
async function produce(
  version: '20.10' | '28.5',
  disk: string | undefined,
  work: (dockerd: Dockerd) => Promise<void>,
): Promise<Readonly<Record<string, ImageFacts>>> {
  const tree = await tempTree('dpl-made');
  const dataRoot = path.join(tree.path, 'data');
  const dockerd = await startDockerd({ version, dataRoot });
  await work(dockerd);
  const facts = await imageFacts(dockerd);
  await dockerd.stop();
  if (disk !== undefined) {
    await makeLegacyDisk(dataRoot, disk, {
      label: 'unlabelled',
      dropTopCommitted: true,
      keepMounts: true,
      leftovers: true,
    });
  }
  await tree.remove();
  return facts;
}

/** What a dockerd says about every image that has a tag. */
export async function imageFacts(dockerd: Dockerd): Promise<Readonly<Record<string, ImageFacts>>> {
  const facts: Record<string, ImageFacts> = {};
  const tags = (await dockerd.cli(['images', '--format', '{{.Repository}}:{{.Tag}}']))
    .split('\n')
    .filter((tag) => tag !== '' && !tag.includes('<none>'));
  for (const tag of tags) {
    const [inspected] = JSON.parse(await dockerd.cli(['inspect', tag])) as [
      { Id: string; RootFS: { Layers: string[] } },
    ];
    const history = await dockerd.cli(['history', '--quiet', tag]);
    facts[tag] = { id: inspected.Id, diffIds: inspected.RootFS.Layers, history: history.split('\n').length };
  }
  return facts;
}

async function push(dockerd: Dockerd, tag: string, folder: string): Promise<void> {
  const registry = await startRegistry(folder);
  const reference = `${registry.address}/${tag}`;
  await dockerd.cli(['tag', tag, reference]);
  await dockerd.cli(['push', reference]);
  await dockerd.cli(['rmi', reference]);
  await registry.stop();
  // Only its storage is for others: its configuration names the folder that this was made in.
  await execa('rm', [path.join(folder, 'config.yml')]);
}

function recipeDigest(): string {
  const recipe = createHash('sha256');
  for (const name of [
    'fixtures.ts',
    '../support/images.ts',
    '../support/docker-archive.ts',
    '../support/legacy-disk.ts',
  ]) {
    recipe.update(readFileSync(path.join(import.meta.dirname, name)));
  }
  return recipe.digest('hex').slice(0, 12);
}
