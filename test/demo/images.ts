import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { cached } from '../support/cache.ts';
import { fetchDebianPackage } from '../support/debian-packages.ts';
import { dockerArchive, type LayerEntry } from '../support/docker-archive.ts';
import { busyboxRoot } from '../support/images.ts';

/** An image of the demo, as an archive that `docker load` takes. */
export interface DemoImage {
  /** Short, for the disk's label. */
  readonly name: 'node' | 'python';
  readonly tag: string;
  readonly about: string;
  readonly archive: string;
  readonly archiveBytes: number;
  /** A command for a container of it. */
  readonly command: readonly string[];
}

/** What the images consist of, besides busybox: packages of Debian 12, unpacked and not installed. */
const imagePackages = {
  base: ['libc6', 'libexpat1', 'libgcc-s1', 'libstdc++6', 'zlib1g'],
  python: ['libpython3.11-minimal', 'libpython3.11-stdlib', 'python3.11-minimal'],
} as const;

/**
 * The two images, made on first use and kept in the cache: Node and Python, on one layer of busybox and the C and C++
 * libraries of Debian 12. They are real programs of some size, because the time of `docker load` depends on it.
 */
export async function demoImages(): Promise<readonly DemoImage[]> {
  const recipe = JSON.stringify([process.version, imagePackages, makeArchives.toString(), entriesOf.toString()]);
  const folder = await cached(
    `demo-images-${createHash('sha256').update(recipe).digest('hex').slice(0, 12)}`,
    makeArchives,
  );
  const image = (name: 'node' | 'python', tag: string, about: string, command: readonly string[]): DemoImage => {
    const archive = path.join(folder, `${name}.tar`);
    return { name, tag, about, command, archive, archiveBytes: statSync(archive).size };
  };
  return [
    image('node', 'demo/node:24', `Node ${process.version} on the base layer`, [
      'node',
      '--print',
      '`hello from Node ${process.version}, on ${os.release()}`',
    ]),
    image('python', 'demo/python:3.11', 'Python 3.11 of Debian 12 on the same base layer', [
      'python3',
      '-c',
      'import json, sys; print(json.dumps({"hello": "from Python " + sys.version.split()[0]}))',
    ]),
  ];
}

/**
 * Holds what `docker images` printed against what it should.
 * @param tags all that are expected, no others
 * @throws Error naming both
 */
export function expectImages(printed: string, tags: readonly string[]): void {
  const found = printed
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.split(/\s+/).slice(0, 2).join(':'))
    .sort();
  if (found.join() !== tags.toSorted().join()) {
    throw new Error(
      `expected Docker with the images ${tags.join(', ')}, found ${found.length === 0 ? 'none' : found.join(', ')}: \`docker-preloader status\` above tells what was left out, else report it with this output`,
    );
  }
}

async function makeArchives(folder: string): Promise<void> {
  const base = [...(await busyboxRoot()), ...entriesOf(await fetchDebianPackage('bookworm', imagePackages.base))];
  const layers: Readonly<Record<string, readonly LayerEntry[]>> = {
    'node:24': [{ name: 'bin' }, { name: 'bin/node', content: readFileSync(process.execPath), mode: 0o755 }],
    'python:3.11': [
      ...entriesOf(await fetchDebianPackage('bookworm', imagePackages.python)),
      { name: 'bin' },
      { name: 'bin/python3', linkTo: '/usr/bin/python3.11' },
    ],
  };
  for (const [name, layer] of Object.entries(layers)) {
    const archive = await dockerArchive([{ tags: [`demo/${name}`], layers: [unique(base), layer] }]);
    await writeFile(path.join(folder, `${name.split(':')[0] ?? name}.tar`), archive);
  }
}

/** Everything in a folder but its documentation, as a layer, sorted. */
function entriesOf(tree: string): LayerEntry[] {
  const names = readdirSync(tree, { recursive: true, encoding: 'utf8' })
    .filter((name) => !/^usr\/share\/(doc|man|lintian)(\/|$)/.test(name))
    .sort();
  return names.map((name) => {
    const file = path.join(tree, name);
    const stat = statSync(file, { throwIfNoEntry: false });
    const target = linkTarget(file);
    if (target !== undefined) return { name, linkTo: target };
    if (stat === undefined || stat.isDirectory()) return { name };
    return { name, content: readFileSync(file), mode: stat.mode & 0o777 };
  });
}

function linkTarget(file: string): string | undefined {
  try {
    return readlinkSync(file);
  } catch {
    return undefined;
  }
}

/** The first of each name: packages share folders. */
function unique(entries: readonly LayerEntry[]): LayerEntry[] {
  return [...new Map(entries.toReversed().map((entry) => [entry.name, entry])).values()].toReversed();
}
