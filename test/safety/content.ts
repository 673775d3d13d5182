import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { cached } from '../support/cache.ts';
import { dockerArchive, type ArchiveImage, type LayerEntry } from '../support/docker-archive.ts';
import { startDockerd } from '../support/dockerd.ts';
import { busyboxRoot } from '../support/images.ts';
import { makeLegacyDisk } from '../support/legacy-disk.ts';
import { tempTree } from '../support/temp-tree.ts';

/** What the safety tests work on, made once by a real dockerd: kept small, since it is copied for each point. */
export interface Content {
  /** `base:1`, `multi:1` of three layers, `app:1`, `tool:1` of two layers that no other image has. */
  readonly disk: string;
  /** A newer build: `base:1` the same, `multi:1` with another top layer, `app:1` another, `new:1`; no `tool:1`. */
  readonly upgrade: string;
  /** For `docker load`: `mine:1`, the user's own `app:1`, and `base:1` as the disk has it. */
  readonly userArchive: string;
}

async function shell(): Promise<readonly LayerEntry[]> {
  const wanted = new Set(['bin', 'bin/busybox', 'bin/sh', 'bin/cat', 'bin/ls', 'etc', 'etc/passwd']);
  return (await busyboxRoot()).filter((entry) => wanted.has(entry.name));
}

const file = (name: string, content: string): readonly LayerEntry[] => [{ name, content }];

async function images(): Promise<Readonly<Record<'disk' | 'upgrade' | 'user', readonly ArchiveImage[]>>> {
  const base = await shell();
  return {
    disk: [
      { tags: ['base:1'], layers: [base] },
      { tags: ['multi:1'], layers: [base, file('middle', 'middle\n'), file('top', 'first\n')] },
      { tags: ['app:1'], layers: [base, file('app', 'first\n')] },
      { tags: ['tool:1'], layers: [[...base, { name: 'tool', content: 'tool\n' }], file('more', 'more\n')] },
    ],
    upgrade: [
      { tags: ['base:1'], layers: [base] },
      { tags: ['multi:1'], layers: [base, file('middle', 'middle\n'), file('top', 'second\n')] },
      { tags: ['app:1'], layers: [base, file('app', 'second\n')] },
      { tags: ['new:1'], layers: [file('new', 'new\n'), file('newer', 'newer\n')] },
    ],
    user: [
      { tags: ['mine:1'], layers: [[...base, { name: 'mine', content: 'mine\n' }], file('also-mine', 'mine\n')] },
      { tags: ['app:1'], layers: [base, file('app', 'user\n')] },
      { tags: ['base:1'], layers: [base] },
    ],
  };
}

/** Makes the content, or takes that of an earlier run: its key is what makes it. */
export async function safetyContent(): Promise<Content> {
  const recipe = createHash('sha256');
  for (const name of ['content.ts', '../support/docker-archive.ts', '../support/legacy-disk.ts'])
    recipe.update(readFileSync(path.join(import.meta.dirname, name)));
  const folder = await cached(`safety-content-${recipe.digest('hex').slice(0, 12)}`, async (made) => {
    const archives = await images();
    for (const name of ['disk', 'upgrade'] as const) await makeDisk(archives[name], path.join(made, `${name}.ext4`));
    writeFileSync(path.join(made, 'user.tar'), await dockerArchive(archives.user));
  });
  return {
    disk: path.join(folder, 'disk.ext4'),
    upgrade: path.join(folder, 'upgrade.ext4'),
    userArchive: path.join(folder, 'user.tar'),
  };
}

async function makeDisk(archive: readonly ArchiveImage[], disk: string): Promise<void> {
  const tree = await tempTree('dpl-made');
  const dataRoot = path.join(tree.path, 'data');
  const dockerd = await startDockerd({ version: '20.10', dataRoot });
  await dockerd.cli(['load'], await dockerArchive(archive));
  await dockerd.stop();
  await makeLegacyDisk(dataRoot, disk, {
    label: 'unlabelled',
    dropTopCommitted: true,
    change: (root) => addMetadata(root),
  });
  await tree.remove();
}

/** When the disks say that their images were tagged. */
export const DISK_UPDATED = '2020-01-02T03:04:05.000000006Z';

/** Where a registry has each layer, as dockerd notes after a pull, and when each image was tagged. */
function addMetadata(root: string): void {
  const imagedb = path.join(root, 'image/overlay2/imagedb');
  for (const image of readdirSync(path.join(imagedb, 'content/sha256'))) {
    mkdirSync(path.join(imagedb, 'metadata/sha256', image), { recursive: true });
    writeFileSync(path.join(imagedb, 'metadata/sha256', image, 'lastUpdated'), DISK_UPDATED);
  }
  const layerdb = path.join(root, 'image/overlay2/layerdb/sha256');
  const distribution = path.join(root, 'image/overlay2/distribution');
  for (const folder of ['v2metadata-by-diffid/sha256', 'diffid-by-digest/sha256'])
    mkdirSync(path.join(distribution, folder), { recursive: true });
  for (const chain of readdirSync(layerdb)) {
    const diffId = readFileSync(path.join(layerdb, chain, 'diff'), 'utf8');
    const digest = createHash('sha256').update(`compressed ${diffId}`).digest('hex');
    writeFileSync(
      path.join(distribution, 'v2metadata-by-diffid/sha256', diffId.slice(7)),
      JSON.stringify([{ Digest: `sha256:${digest}`, SourceRepository: 'registry.example/all', HMAC: '' }]),
    );
    writeFileSync(path.join(distribution, 'diffid-by-digest/sha256', digest), diffId);
  }
}
