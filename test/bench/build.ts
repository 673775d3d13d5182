import { createHash } from 'node:crypto';
import {
  createReadStream,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { execa } from 'execa';
import { build as buildExecutable } from '../../agent/packaging/build-program.ts';
import { cleanUpAll } from '../support/cleanup.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';
import { dockerdTree } from '../support/dockerd-version.ts';
import { tempTree } from '../support/temp-tree.ts';
import { median } from './statistics.ts';

const LAYERS = 12;
const SAMPLE_MS = 20;
const root = path.resolve(import.meta.dirname, '../..');

interface BenchOptions {
  readonly sizeMb: number;
  readonly rounds: number;
}

interface Rival {
  readonly name: string;
  /** Which of ours does the same; undefined where it is ours. */
  readonly ours: string | undefined;
  /** Makes `disk.qcow2` in a new folder. */
  readonly run: (folder: string) => Promise<Measured>;
}

interface Measured {
  readonly seconds: number;
  /** Of the process alone, without its children; undefined for what is a row of programs. */
  readonly peakMemoryMb: number | undefined;
  readonly peakDiskMb: number;
  readonly diskMb: number;
}

/**
 * Runs the rivals in turns and prints a table of medians, spreads and ratios to `build`.
 * @returns it, with each single figure
 */
export async function benchBuild(options: BenchOptions): Promise<unknown> {
  await ensureDebianPackages(['e2fsprogs', 'qemu-utils'], { install: true });
  await buildExecutable(root, path.join(root, 'dist'));
  const tree = await tempTree('dpl-bench');
  try {
    return await compare(tree.path, options);
  } finally {
    await cleanUpAll();
  }
}

async function compare(temp: string, options: BenchOptions): Promise<unknown> {
  const image = await makeImage(temp, options.sizeMb);
  console.log(`image: ${(image.bytes / 1e6).toFixed(0)} MB, ${LAYERS} layers, ${image.files} files`);
  const results = new Map<string, Measured[]>();
  const all = await rivals(image.archive);
  for (let round = 0; round < options.rounds; round += 1) {
    for (const { name, run } of all) {
      const folder = path.join(temp, 'work');
      mkdirSync(folder);
      await execa('sync');
      const measured = await run(folder);
      results.set(name, [...(results.get(name) ?? []), measured]);
      console.log(`round ${round + 1}: ${name}: ${measured.seconds.toFixed(1)} s`);
      await execa('rm', ['-rf', folder]);
    }
  }
  const table = all.map(({ name, ours }) =>
    summary(name, results.get(name) ?? [], ours === undefined ? undefined : results.get(ours), image.bytes / 1e6),
  );
  console.table(table);
  return { image, rounds: options.rounds, table, runs: Object.fromEntries(results) };
}

async function rivals(archive: string): Promise<Rival[]> {
  const { bin, cliConfig } = await dockerdTree('28.5');
  const executable = path.join(root, 'dist/bin/docker-preloader');
  const disk = (folder: string): string => path.join(folder, 'disk.qcow2');
  const build = (folder: string, ...more: readonly string[]): readonly [string, ...string[]] => [
    executable,
    'build',
    archive,
    '-o',
    disk(folder),
    '--quiet',
    ...more,
  ];
  const shell = (folder: string, ...more: readonly string[]): readonly [string, ...string[]] => [
    'sh',
    '-euc',
    SHELL,
    'sh',
    archive,
    folder,
    ...more,
  ];
  return [
    { name: 'build', ours: undefined, run: (folder) => measure(folder, build(folder), {}, true) },
    {
      name: 'build on one core',
      ours: undefined,
      run: (folder) => measure(folder, ['taskset', '--cpu-list', '0', ...build(folder)], {}, true),
    },
    {
      name: 'build --compress',
      ours: undefined,
      run: (folder) => measure(folder, build(folder, '--compress'), {}, false),
    },
    { name: 'tar + mke2fs', ours: 'build', run: (folder) => measure(folder, shell(folder), {}, false) },
    {
      name: 'tar + mke2fs on one core',
      ours: 'build on one core',
      run: (folder) => measure(folder, ['taskset', '--cpu-list', '0', ...shell(folder)], {}, false),
    },
    {
      name: 'tar + mke2fs, compressed',
      ours: 'build --compress',
      run: (folder) => measure(folder, shell(folder, '-c'), {}, false),
    },
    {
      name: 'engine docker',
      ours: 'build',
      run: (folder) =>
        measure(
          folder,
          build(folder, '--engine', 'docker'),
          { PATH: `${bin}:${process.env['PATH'] ?? ''}`, DOCKER_CONFIG: cliConfig },
          false,
        ),
    },
  ];
}

/** What a person would write; no whiteouts, no records, no tar-split. */
const SHELL = `
  mkdir "$2/archive" "$2/tree"
  tar -xf "$1" -C "$2/archive"
  number=0
  for layer in "$2"/archive/*/layer.tar; do
    number=$((number + 1)); mkdir "$2/tree/$number"; tar -xpf "$layer" --xattrs -C "$2/tree/$number"; rm "$layer"
  done
  blocks=$(du -s --block-size=4096 "$2/tree" | cut -f1); inodes=$(du -s --inodes "$2/tree" | cut -f1)
  truncate -s $(((blocks + inodes / 8 + 8192) * 4096)) "$2/disk.raw"
  mke2fs -q -t ext4 -b 4096 -m 0 -O ^has_journal -N $((inodes + 64)) -d "$2/tree" "$2/disk.raw"
  qemu-img convert \${3:-} -O qcow2 "$2/disk.raw" "$2/disk.qcow2"`;

async function measure(
  folder: string,
  [program, ...args]: readonly [string, ...string[]],
  env: Readonly<Record<string, string>>,
  memory: boolean,
): Promise<Measured> {
  const used = async (): Promise<number> =>
    Number((await execa('df', ['--output=used', '--block-size=1', folder])).stdout.split('\n')[1]);
  const before = await used();
  const start = performance.now();
  const child = execa(program, args, { env, stdio: ['ignore', 'ignore', 'inherit'] });
  let peakKb = 0;
  let peakDisk = 0;
  let ended = false;
  const sampling = (async (): Promise<void> => {
    for (let turn = 0; !ended; turn += 1) {
      peakKb = Math.max(peakKb, residentKb(child.pid));
      // df asks the filesystem alone; every tenth time is enough.
      if (turn % 10 === 0) peakDisk = Math.max(peakDisk, (await used()) - before);
      await new Promise((resolve) => {
        setTimeout(resolve, SAMPLE_MS);
      });
    }
  })();
  await child;
  const seconds = (performance.now() - start) / 1000;
  ended = true;
  await sampling;
  return {
    seconds,
    peakMemoryMb: memory ? peakKb / 1024 : undefined,
    peakDiskMb: Math.max(peakDisk, (await used()) - before) / 1e6,
    diskMb: (statSync(path.join(folder, 'disk.qcow2')).blocks * 512) / 1e6,
  };
}

function residentKb(pid: number | undefined): number {
  try {
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid ?? 0}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

function summary(
  name: string,
  runs: readonly Measured[],
  own: readonly Measured[] | undefined,
  imageMb: number,
): Readonly<Record<string, string>> {
  const seconds = (list: readonly Measured[]): number[] => list.map((run) => run.seconds).sort((a, b) => a - b);
  const times = seconds(runs);
  return {
    rival: name,
    'median s': median(times).toFixed(1),
    'min–max s': `${(times[0] ?? 0).toFixed(1)}–${(times.at(-1) ?? 0).toFixed(1)}`,
    'ours takes': own === undefined ? '' : `${(median(seconds(own)) / median(times)).toFixed(2)} of it`,
    'peak memory MB': runs.some((run) => run.peakMemoryMb === undefined)
      ? '–'
      : Math.max(...runs.map((run) => run.peakMemoryMb ?? 0)).toFixed(0),
    'disk / image': (Math.max(...runs.map((run) => run.diskMb)) / imageMb).toFixed(2),
    'peak disk / image': (Math.max(...runs.map((run) => run.peakDiskMb)) / imageMb).toFixed(2),
  };
}

/**
 * An archive of `docker save` of this machine's own files under /usr, in layers of about one size, in the order of
 * their names.
 * @param below tars of layers below these
 */
export async function makeImage(
  folder: string,
  sizeMb: number,
  below: readonly string[] = [],
): Promise<{ readonly archive: string; readonly bytes: number; readonly files: number }> {
  const stage = path.join(folder, 'image');
  mkdirSync(stage);
  const wanted = (sizeMb * 1e6) / LAYERS;
  const lists: string[][] = [[]];
  let [bytes, inLayer] = [0, 0];
  for (const file of filesOf('/usr')) {
    if (inLayer >= wanted) {
      if (lists.length === LAYERS) break;
      lists.push([]);
      inLayer = 0;
    }
    lists.at(-1)?.push(file.name);
    inLayer += file.size;
    bytes += file.size;
  }
  if (lists.length < LAYERS)
    throw new Error(
      `expected ${sizeMb} MB of files in /usr, found ${(bytes / 1e6).toFixed(0)}: choose a smaller --size`,
    );
  const layers: string[] = [];
  for (const [index, list] of lists.entries()) {
    const layer = path.join(stage, `${index}.tar`);
    await execa(
      'tar',
      ['--create', '--file', layer, '--directory', '/', '--no-recursion', '--null', '--files-from', '-'],
      { input: list.map((file) => `${file.slice(1)}\0`).join('') },
    );
    layers.push(layer);
  }
  const archive = await packImage(folder, 'bench:1', [...below, ...layers]);
  rmSync(stage, { recursive: true });
  return { archive, bytes, files: lists.flat().length };
}

/** Makes `image.tar` in a folder, an archive of `docker save`, of tars of layers. */
export async function packImage(folder: string, tag: string, layers: readonly string[]): Promise<string> {
  const stage = path.join(folder, 'archive');
  const diffIds: string[] = [];
  const names: string[] = [];
  for (const [index, layer] of layers.entries()) {
    const name = `${String(index).padStart(64, '0')}/layer.tar`;
    mkdirSync(path.join(stage, path.dirname(name)), { recursive: true });
    await execa('cp', [layer, path.join(stage, name)]);
    diffIds.push(`sha256:${await sha256File(layer)}`);
    names.push(name);
  }
  const config = JSON.stringify({
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: diffIds },
  });
  const id = createHash('sha256').update(config).digest('hex');
  writeFileSync(path.join(stage, `${id}.json`), config);
  writeFileSync(
    path.join(stage, 'manifest.json'),
    JSON.stringify([{ Config: `${id}.json`, RepoTags: [tag], Layers: names }]),
  );
  const archive = path.join(folder, 'image.tar');
  await execa('tar', ['--create', '--file', `${archive}.part`, '--directory', stage, '.']);
  renameSync(`${archive}.part`, archive);
  rmSync(stage, { recursive: true });
  return archive;
}

/** Regular files below a folder. */
function* filesOf(folder: string): Generator<{ readonly name: string; readonly size: number }> {
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const name = path.join(folder, entry.name);
    if (entry.isDirectory()) yield* filesOf(name);
    else if (entry.isFile()) yield { name, size: statSync(name).size };
  }
}

async function sha256File(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}
