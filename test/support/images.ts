import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { fetchDebianPackage } from './debian-packages.ts';
import { dockerArchive, type LayerEntry, layerTar } from './docker-archive.ts';
import type { Dockerd } from './dockerd.ts';
import { tempTree } from './temp-tree.ts';

/** A root of busybox alone: a shell and its tools, statically linked, some 2 MB. */
export async function busyboxRoot(): Promise<readonly LayerEntry[]> {
  const busybox = path.join(await fetchDebianPackage('bookworm', ['busybox-static']), 'bin/busybox');
  const { stdout } = await execa(busybox, ['--list']);
  return [
    { name: 'bin' },
    { name: 'bin/busybox', content: readFileSync(busybox), mode: 0o755 },
    ...stdout
      .split('\n')
      .filter((applet) => applet !== 'busybox')
      .map((applet) => ({ name: `bin/${applet}`, linkTo: 'busybox' })),
    { name: 'etc' },
    { name: 'etc/passwd', content: 'root:x:0:0:root:/root:/bin/sh\n' },
    { name: 'root', mode: 0o700 },
    { name: 'tmp', mode: 0o1777 },
  ];
}

/** What `importBase` adds to busybox, for the images built on it to change, delete and cover. */
export const lowerFiles: readonly LayerEntry[] = [
  { name: 'lower' },
  { name: 'lower/kept', content: 'kept\n' },
  { name: 'lower/changed', content: 'before\n' },
  { name: 'lower/deleted', content: 'to be deleted\n' },
  { name: 'covered' },
  { name: 'covered/old', content: 'old\n' },
  { name: 'covered/sub' },
  { name: 'covered/sub/old', content: 'old\n' },
];

/** Imports a single-layer image of busybox and `lowerFiles` as `tag`. */
export async function importBase(dockerd: Dockerd, tag: string): Promise<void> {
  const root = await layerTar([...(await busyboxRoot()), ...lowerFiles]);
  await dockerd.cli(['import', '--change', 'CMD ["sh"]', '--change', 'ENV PATH=/bin', '-', tag], root);
}

/** A Dockerfile whose layers hold a whiteout, an opaque folder and a file written over, on what `importBase` made. */
export function changingDockerfile(base: string): string {
  return [
    `FROM ${base}`,
    'RUN rm /lower/deleted',
    'RUN rm -rf /covered && mkdir /covered && echo new > /covered/new',
    'RUN echo after > /lower/changed && mkdir -p /added && echo added > /added/file',
    'LABEL made=by-dockerfile',
    '',
  ].join('\n');
}

/** What `observe` prints in a container of an image built by `changingDockerfile`. */
export const changedFiles = 'kept after [changed kept] [new] added';

/** A shell command that prints what is to be seen of `lowerFiles` and of what changed them. */
export const observe =
  'echo $(cat /lower/kept) $(cat /lower/changed) "[$(echo $(ls /lower))]" "[$(echo $(ls /covered))]" $(cat /added/file)';

/**
 * Builds an image from a Dockerfile, without network.
 * @param builder `classic` runs a container for each step, `buildkit` is the one that dockerd has built in
 * @param files what COPY finds, by name
 */
export async function buildImage(
  dockerd: Dockerd,
  tag: string,
  dockerfile: string,
  builder: 'classic' | 'buildkit',
  files: Readonly<Record<string, string>> = {},
): Promise<string> {
  const context = await tempTree('dpl-context');
  try {
    for (const [name, content] of Object.entries({ ...files, Dockerfile: dockerfile })) {
      await mkdir(path.dirname(path.join(context.path, name)), { recursive: true });
      await writeFile(path.join(context.path, name), content);
    }
    return await dockerd.cli(['build', '--network', 'none', '--tag', tag, context.path], undefined, {
      all: true,
      env: { DOCKER_BUILDKIT: builder === 'buildkit' ? '1' : '0' },
    });
  } finally {
    await context.remove();
  }
}

/** Loads an image of `manyLayers` as `tag`. */
export async function loadManyLayers(dockerd: Dockerd, tag: string, count: number): Promise<void> {
  await dockerd.cli(['load'], await dockerArchive([{ tags: [tag], layers: await manyLayers(count) }]));
}

/**
 * So many layers: busybox, and then one file `/layers/N` a layer, with the file of the layer before last deleted each time,
 * so that the order of the layers shows.
 */
export async function manyLayers(count: number): Promise<readonly (readonly LayerEntry[])[]> {
  const layers: (readonly LayerEntry[])[] = [await busyboxRoot()];
  for (let number = 2; number <= count; number++) {
    layers.push([
      { name: 'layers' },
      { name: `layers/${number}`, content: `${number}\n` },
      ...(number > 3 ? [{ name: `layers/.wh.${number - 2}`, content: '' }] : []),
    ]);
  }
  return layers;
}
