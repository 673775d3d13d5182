import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hexOf, sha256 } from '../../docker/ids.ts';
import { PreloaderError } from '../../system/errors.ts';
import { namesIn } from '../../system/read-files.ts';
import type { BuildOptions } from '../disk-options.ts';
import { makeWorkplace, type Workplace } from '../workplace.ts';
import { PrivateDockerd } from './private-dockerd.ts';
import type { Progress } from '../../text/progress.ts';
import { requireTool, runTool, runWithPrivateMounts } from '../../system/run-tool.ts';

const BLOCK_BYTES = 4096;
/**
 * Room for the filesystem's own tables, on top of an inode for each file: this many blocks, and this share of the
 * content.
 */
export const EXTRA_BLOCKS = 4096;
export const EXTRA_SHARE = 0.03;

export type DockerEngineOptions = Pick<
  BuildOptions,
  'archives' | 'output' | 'format' | 'label' | 'sizeBytes' | 'compress'
>;

/**
 * Makes a disk with Docker itself, as the reference for the built-in engine: a private dockerd loads the archives, and
 * its data root becomes an ext4. Such a disk has no manifest.
 * @throws PreloaderError
 */
export async function buildWithDocker(
  options: DockerEngineOptions,
  progress: Progress,
): Promise<{ readonly label: string; readonly sizeBytes: number }> {
  if (process.getuid?.() !== 0)
    throw new PreloaderError(
      'BUILD_FAILED',
      '--engine docker: expected root, since dockerd needs it; the built-in engine does without',
    );
  for (const tool of ['dockerd', 'docker', ...(options.format === 'qcow2' ? (['qemu-img'] as const) : [])] as const)
    requireTool(tool);
  let dockerd: PrivateDockerd | undefined;
  const workplace = makeWorkplace(options.output, { beforeRemoval: () => dockerd?.stop() });
  try {
    progress.step('starting dockerd');
    dockerd = new PrivateDockerd(workplace.path('data'));
    await dockerd.ready();
    for (const { path: archive } of options.archives) {
      progress.step(`loading ${archive === '-' ? 'standard input' : archive}`);
      await dockerd.docker('load', '--quiet', ...(archive === '-' ? [] : ['--input', archive]));
    }
    dockerd.stop();
    dropWhatIsNoImage(workplace.path('data'));
    const label =
      options.label ??
      `dpl-${hexOf(sha256(readFileSync(join(workplace.path('data'), 'image/overlay2/repositories.json')))).slice(0, 11)}`;
    progress.step('writing the filesystem');
    const sizeBytes = await writeFilesystem(workplace, label, options.sizeBytes);
    await publishImage(workplace, options, progress);
    return { label, sizeBytes };
  } finally {
    progress.end();
    workplace.remove();
  }
}

/** Makes the workplace's raw `disk` the output, in the requested format. */
export async function publishImage(
  workplace: Workplace,
  options: DockerEngineOptions,
  progress: Progress,
): Promise<void> {
  if (options.format === 'raw') return await workplace.publish('disk');
  progress.step('converting');
  await runTool('qemu-img', [
    'convert',
    ...(options.compress ? ['-c'] : []),
    '-f',
    'raw',
    '-O',
    'qcow2',
    workplace.path('disk'),
    workplace.path('converted'),
  ]);
  await workplace.publish('converted');
}

/** Removes the layers of containers and whatever was unfinished. */
function dropWhatIsNoImage(dataRoot: string): void {
  const layerdb = join(dataRoot, 'image/overlay2/layerdb');
  for (const name of ['mounts', 'tmp']) rmSync(join(layerdb, name), { recursive: true, force: true });
  for (const name of namesIn(join(layerdb, 'sha256')))
    if (!/^[0-9a-f]{64}$/.test(name)) rmSync(join(layerdb, 'sha256', name), { recursive: true });
}

/** Without `umount`, the last bytes might be written after the namespace's end, and the disk published before. */
const FILL = 'set -e; mount -o loop "$1" "$2"; cp --archive "$3" "$4" "$2"; rmdir "$2/lost+found"; umount "$2"';

/**
 * Copies the tree into a mounted filesystem, because `mke2fs -d` drops the fractions of times.
 * @returns the filesystem's size in bytes
 */
async function writeFilesystem(workplace: Workplace, label: string, sizeBytes: number | undefined): Promise<number> {
  const [data, disk, mounted] = [workplace.path('data'), workplace.path('disk'), workplace.path('mounted')];
  const parts = ['image', 'overlay2'].map((name) => join(data, name));
  const blocks = sum(await runTool('du', ['--summarize', `--block-size=${BLOCK_BYTES}`, ...parts]));
  const inodes = sum(await runTool('du', ['--summarize', '--inodes', ...parts])) + 64;
  const size =
    sizeBytes ?? (Math.ceil(blocks * (1 + EXTRA_SHARE)) + Math.ceil(inodes / 8) + EXTRA_BLOCKS) * BLOCK_BYTES;
  writeFileSync(disk, '');
  truncateSync(disk, size);
  await runTool('mke2fs', [
    '-q',
    '-t',
    'ext4',
    '-b',
    String(BLOCK_BYTES),
    '-O',
    '^has_journal,^resize_inode',
    '-m',
    '0',
    '-N',
    String(inodes),
    '-L',
    label,
    disk,
  ]);
  mkdirSync(mounted);
  await runWithPrivateMounts(
    sizeBytes === undefined ? 'filling the filesystem' : `--size ${sizeBytes}: filling the filesystem`,
    FILL,
    [disk, mounted, ...parts],
  );
  return size;
}

/** Adds up the numbers that `du` prints before each name. */
function sum(listing: string): number {
  return listing.split('\n').reduce((total, line) => total + (Number.parseInt(line, 10) || 0), 0);
}
