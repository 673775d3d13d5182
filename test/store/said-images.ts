import { type ArchiveImage, dockerArchive, type LayerEntry } from '../support/docker-archive.ts';
import type { Dockerd } from '../support/dockerd.ts';
import { busyboxRoot } from '../support/images.ts';
import { until } from '../support/until.ts';

/** An image on busybox, whose file `/app` says which one it is. */
export interface SaidImage {
  readonly content: string;
  readonly tags: readonly string[];
}

export function image(content: string, ...tags: readonly string[]): SaidImage {
  return { content, tags };
}

let base: Promise<readonly LayerEntry[]> | undefined;

/** As `docker save` writes it: all of them have their base in common. */
export async function archiveOf(...images: readonly SaidImage[]): Promise<Uint8Array> {
  const root = await (base ??= busyboxRoot());
  return dockerArchive(
    images.map(({ content, tags }): ArchiveImage => ({
      tags,
      layers: [root, [{ name: 'app', content: `${content}\n` }]],
    })),
  );
}

export function says(dockerd: Dockerd, tag: string): Promise<string> {
  return dockerd.cli(['run', '--rm', '--network', 'none', tag, 'cat', '/app']);
}

export async function tagsOf(dockerd: Dockerd): Promise<string[]> {
  return (await dockerd.cli(['images', '--format', '{{.Repository}}:{{.Tag}}']))
    .split('\n')
    .filter((tag) => tag !== '')
    .toSorted();
}

/** Waits until dockerd has exactly these. @returns after how many milliseconds */
export function untilTags(dockerd: Dockerd, ...tags: readonly string[]): Promise<number> {
  return until(
    `${tags.join(', ')} back`,
    async () => JSON.stringify(await tagsOf(dockerd)) === JSON.stringify(tags.toSorted()),
  );
}
