import assert from 'node:assert/strict';
import path from 'node:path';
import type { Dockerd } from '../support/dockerd.ts';
import { buildImage } from '../support/images.ts';
import { startRegistry } from '../support/registry.ts';
import type { StoryDisks } from './story-disks.ts';

/** One image of the user's, with the command that shows that it works. */
interface UserImage {
  readonly id: string;
  /** A file in it, with what is in there. */
  readonly shows: readonly [file: string, content: string];
  /** What of the first disk it stands on; nothing where the user has all of its layers. */
  readonly standsOn: 'app' | 'api' | 'again' | undefined;
}

/** Everything that a user has made of a store with the first disk. */
export interface UserThings {
  /** By reference. */
  readonly images: ReadonlyMap<string, UserImage>;
  /** Container to what it prints when it is started: its own file, and one in its volume. */
  readonly containers: ReadonlyMap<
    string,
    { readonly image: string; readonly prints: string; readonly standsOn: UserImage['standsOn'] }
  >;
}

/** What stands on the first disk's layers that are wanted for it. */
export type Attached = ReadonlySet<'app' | 'api' | 'again'>;
export const everything: Attached = new Set(['app', 'api', 'again']);
export const nothing: Attached = new Set();

const say = 'cat /own /volume/file 2>/dev/null; if [ ! -f /own ]; then echo own > /own; echo kept > /volume/file; fi';

/**
 * Does to a running dockerd, on a store with the first disk, all that a user may do.
 * @param folder where a registry may keep its files
 */
export async function makeUserThings(dockerd: Dockerd, { archives }: StoryDisks, folder: string): Promise<UserThings> {
  const run = (...args: readonly string[]): Promise<string> => dockerd.cli(args);
  const references = new Map<string, Pick<UserImage, 'shows' | 'standsOn'>>();
  const have = (reference: string, shows: UserImage['shows'], standsOn?: UserImage['standsOn']): void =>
    void references.set(reference, { shows, standsOn });

  // A tag of his own in a repository that the disk has; a tag of the disk's that he has moved.
  await dockerd.cli(['load'], archives.mine);
  await run('tag', 'mine:1', 'app:mine');
  await dockerd.cli(['load'], archives.moved);
  for (const name of ['mine:1', 'app:mine']) have(name, ['mine', 'mine']);
  have('tool:1', ['tool', "the user's tool"]);
  // A name of his own for an image of the disk.
  await run('tag', 'api:1', 'own-name:1');
  have('own-name:1', ['api', 'api'], 'api');

  // Images that he removed and loaded again: their layers stayed, by their pins.
  await run('rmi', 'gone:1', 'solo:1');
  await dockerd.cli(['load'], archives.gone);
  await dockerd.cli(['load'], archives.solo);
  have('gone:1', ['gone', 'gone'], 'again');
  have('solo:1', ['solo', 'solo'], 'again');

  // Images built on the disk's layers.
  await buildImage(dockerd, 'built:1', 'FROM app:1\nCOPY built /built\n', 'classic', { built: 'built\n' });
  have('built:1', ['built', 'built'], 'app');

  // Pulled by tag and by digest: one on his own layers, one on the disk's.
  const registry = await startRegistry(path.join(folder, 'registry'));
  await dockerd.cli(['load'], archives.pulled);
  for (const [from, name] of [
    ['pulled:1', 'pulled'],
    ['built:1', 'on-app'],
  ] as const) {
    const tag = `${registry.address}/${name}:1`;
    await run('tag', from, tag);
    const digest = /digest: (sha256:\w+)/.exec(await run('push', tag))?.[1] ?? '';
    await run('rmi', tag);
    if (name === 'pulled') await run('rmi', from);
    await run('pull', tag);
    await run('pull', `${registry.address}/${name}@${digest}`);
    for (const reference of [tag, `${registry.address}/${name}@${digest}`])
      have(
        reference,
        name === 'pulled' ? ['pulled', 'pulled'] : ['built', 'built'],
        name === 'pulled' ? undefined : 'app',
      );
  }
  await registry.stop();

  // Containers with a file and a nameless volume of their own.
  const containers = new Map<string, { image: string; prints: string; standsOn: UserImage['standsOn'] }>();
  for (const [name, image, standsOn] of [
    ['on-disk', 'app:1', 'app'],
    ['on-mine', 'mine:1', undefined],
  ] as const) {
    await run('run', '--name', name, '--network', 'none', '--volume', '/volume', image, 'sh', '-c', say);
    containers.set(name, { image: await idOf(dockerd, image), prints: 'own\nkept', standsOn });
  }
  const images = new Map<string, UserImage>();
  for (const [reference, shown] of references) images.set(reference, { ...shown, id: await idOf(dockerd, reference) });
  return { images, containers };
}

function idOf(dockerd: Dockerd, reference: string): Promise<string> {
  return dockerd.cli(['image', 'inspect', '--format', '{{.Id}}', reference]);
}

/**
 * All of the user's things are there, and those work whose layers are attached; after `docker volume prune`, too, which
 * would take the volumes of containers that dockerd has forgotten.
 * @param except references that are no longer his
 * @param listed gives the names of all images, with white space between them
 */
export async function checkUserThings(
  dockerd: Dockerd,
  things: UserThings,
  attached: Attached,
  except: readonly string[],
  listed: () => Promise<string>,
): Promise<void> {
  const references = [...things.images].filter(([reference]) => !except.includes(reference));
  const ids = await dockerd.cli([
    'image',
    'inspect',
    '--format',
    '{{.Id}}',
    ...references.map(([reference]) => reference),
  ]);
  assert.deepEqual(
    ids.split('\n'),
    references.map(([, { id }]) => id),
  );
  const names = (await listed()).split(/\s/);
  for (const [reference] of references) assert.ok(names.includes(reference), `${reference} is listed`);

  // 23.0 and later prune only nameless volumes, as all of these are.
  await dockerd.cli(['volume', 'prune', '--force']);
  const works = (standsOn: UserImage['standsOn']): boolean => standsOn === undefined || attached.has(standsOn);
  const wrong: string[] = [];
  const each = new Map(references.map(([reference, image]) => [image.id, { reference, ...image }] as const));
  await Promise.all([
    ...[...each.values()]
      .filter(({ standsOn }) => works(standsOn))
      .map(async ({ reference, shows: [file, content] }) => {
        const said = await fileIn(dockerd, reference, `/${file}`).catch(String);
        if (said !== content) wrong.push(`${reference}: ${said}`);
      }),
    ...[...things.containers].map(async ([name, { image, prints, standsOn }]) => {
      assert.equal(await dockerd.cli(['inspect', '--format', '{{.Image}}', name]), image);
      const said = works(standsOn) ? await dockerd.cli(['start', '--attach', name]).catch(String) : prints;
      if (said !== prints) wrong.push(`${name}: ${said}`);
    }),
  ]);
  const volumes = await dockerd.cli(['volume', 'ls', '--quiet']);
  if (volumes.split('\n').length !== things.containers.size) wrong.push(`volumes: ${volumes}`);
  assert.deepEqual(wrong, []);
}

/** The names of all images, by tag, and by digest. */
export function listedByDocker(dockerd: Dockerd): Promise<string> {
  const format = '{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}';
  return dockerd.cli(['images', '--no-trunc', '--digests', '--format', format]);
}

/**
 * A file of an image through the overlay that dockerd mounts for a container: without the half second that starting it
 * takes.
 */
export async function fileIn(dockerd: Dockerd, reference: string, file: string): Promise<string> {
  const container = await dockerd.cli(['create', '--network', 'none', reference, 'true']);
  try {
    const tar = await dockerd.cli(['cp', `${container}:${file}`, '-']);
    // One block of header, then the content, to its first newline.
    return tar.slice(512).split('\n')[0] ?? '';
  } finally {
    await dockerd.cli(['rm', container]);
  }
}
