import { readdirSync } from 'node:fs';
import { release } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { readConfig } from '../config/read-config.ts';
import { preload } from '../boot/preload.ts';
import type { LoadedDisk } from '../boot/loaded-disk.ts';
import { inPrivateMounts } from '../boot/private-mounts.ts';
import { makeProgress } from '../text/progress.ts';
import {
  bytesOf,
  serialiseReadAhead,
  sizeOfList,
  type ReadAheadFile,
  type ReadAheadList,
  READ_AHEAD_VERSION,
} from '../disk/read-ahead-list.ts';
import type { DiskLayer } from '../disk/read-disk.ts';
import { processMs } from '../system/clock.ts';
import { isENOSYS, messageOf, PreloaderError } from '../system/errors.ts';
import { megabytes } from '../text/megabytes.ts';
import { piecesInMemory } from '../system/page-cache.ts';
import { stderr, tellLine } from '../system/stderr.ts';
import { plural } from '../text/plural.ts';

/**
 * Prints which parts of the disks' layers are in memory now, for `build --read-ahead`.
 * @returns the exit status
 */
export async function record(options: { readonly config?: string }): Promise<number> {
  const config = await readConfig(options.config);
  const progress = makeProgress(stderr, !stderr.isTTY, processMs);
  const list = await inPrivateMounts(config.mountRoot, async () => {
    const { disks } = await preload(config, { wait: false, change: 'never', quiet: true });
    return await readAheadListOf(disks, (text) => progress.step(text));
  }).finally(() => progress.end());
  const { files, bytes } = sizeOfList(list);
  process.stdout.write(textOf(list));
  tellLine(
    `docker-preloader: ${megabytes(bytes)} of ${plural(files, 'file')} in ${plural(list.layers.length, 'layer')} ${files === 1 ? 'is' : 'are'} in memory`,
  );
  return 0;
}

/** @throws PreloaderError RECORD_FAILED */
function textOf(list: ReadAheadList): string {
  try {
    return serialiseReadAhead(list);
  } catch (error) {
    throw new PreloaderError(
      'RECORD_FAILED',
      `${messageOf(error)}; record in a boot in which nothing else has read the disks`,
      { cause: error },
    );
  }
}

/** @throws PreloaderError RECORD_FAILED, and system errors */
export async function readAheadListOf(
  disks: readonly LoadedDisk[],
  onStep: (text: string) => void,
): Promise<ReadAheadList> {
  if (disks.length === 0)
    throw new PreloaderError(
      'RECORD_FAILED',
      'expected a preload disk, found none that could be read; docker-preloader status tells why',
    );
  const layers = new Map<string, readonly ReadAheadFile[]>();
  for (const layer of disks.flatMap(({ content }) => [...content.layers.values()])) {
    onStep(`layer ${layer.chain}`);
    // Lets signals be handled between layers.
    await setImmediate();
    const files = filesInMemory(layer);
    // If several disks have a layer, Docker uses only one copy, which is the one in memory.
    if (bytesOf(files) > bytesOf(layers.get(layer.chain) ?? [])) layers.set(layer.chain, files);
  }
  return { formatVersion: READ_AHEAD_VERSION, layers: [...layers].map(([chainId, files]) => ({ chainId, files })) };
}

/** @throws PreloaderError RECORD_FAILED, and system errors */
function filesInMemory({ diffPath }: DiskLayer): ReadAheadFile[] {
  const files: ReadAheadFile[] = [];
  try {
    for (const path of filesBelow(diffPath)) {
      const pieces = piecesInMemory(`${diffPath}/${path}`);
      if (pieces.length > 0) files.push({ path, pieces });
    }
  } catch (error) {
    if (!isENOSYS(error)) throw error;
    throw new PreloaderError(
      'RECORD_FAILED',
      `expected Linux 6.5 or later, which can say what is in memory, found ${release()}; record on a machine that has that`,
      { cause: error },
    );
  }
  return files;
}

/** The regular files, as paths below the folder. Names that are not UTF-8 are left out, because a list is text. */
function* filesBelow(folder: string, below = ''): Generator<string> {
  for (const entry of readdirSync(`${folder}/${below}`, { withFileTypes: true })) {
    if (entry.name.includes('\uFFFD')) continue;
    const path = `${below}${entry.name}`;
    if (entry.isDirectory()) yield* filesBelow(folder, `${path}/`);
    else if (entry.isFile()) yield path;
  }
}
