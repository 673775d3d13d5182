import type { Finding } from '../messages/finding.ts';
import type { ChainID } from '../docker/ids.ts';
import { listNames, plural } from '../text/plural.ts';
import { DISK, KEEPS_CONTENT } from './own-labels.ts';
import { layersFrom, topLayerIn, type Present } from './present.ts';
import type { ImageRecord } from './services.ts';

interface LostBytesInput {
  readonly present: Present;
  /** Records that stay, and are not ours. */
  readonly users: readonly ImageRecord[];
  /** What the disks have: layers, and layers' bytes. */
  readonly layers: Pick<ReadonlySet<ChainID>, 'has'>;
  readonly blobs: Pick<ReadonlySet<string>, 'has'>;
  readonly forget: boolean;
}

/**
 * Names images of the user's that have the bytes of a layer by a link to a disk that is gone, though they stand on none of its
 * layers: on another base, a layer is another one, and its bytes are the same. containerd knows these, so that no pull
 * fetches them.
 */
export function lostBytesFindings({ present, users, layers, blobs, forget }: LostBytesInput): Finding[] {
  const { content, snapshots, namespace } = present;
  const lost = new Set(
    [...content].flatMap(([digest, { own }]) =>
      own !== undefined && own.place.is !== 'taken' && !blobs.has(digest) ? [digest] : [],
    ),
  );
  const byLabel = new Map<string, { readonly names: Set<string>; readonly digests: Set<string> }>();
  for (const record of lost.size === 0 ? [] : users) {
    // What stands on a layer that is lost is named for that.
    const chains = layersFrom(present, topLayerIn(present, record) ?? '');
    if (chains.some((chain) => snapshots.get(chain)?.own !== undefined && !layers.has(chain))) continue;
    for (const digest of contentOf(present, record.target?.digest ?? '')) {
      if (!lost.has(digest)) continue;
      const label = content.get(digest)?.labels.get(DISK) ?? '';
      const entry = byLabel.get(label) ?? { names: new Set(), digests: new Set() };
      byLabel.set(label, entry);
      entry.names.add(`image ${record.name}`);
      entry.digests.add(digest);
    }
  }
  return [...byLabel].map(([label, { names, digests }]) => {
    const bytes = `the bytes of ${plural(digests.size, 'layer')}`;
    const [have, what] = [names.size === 1 ? 'has' : 'have', listNames([...names].toSorted())];
    const where = `namespace ${namespace} of containerd`;
    const message = forget
      ? `in ${where}, ${what} ${have} ${bytes} from disk ${label}, where they stay; to let go of them, remove what has them`
      : `disk ${label} no longer has ${bytes} that ${what} ${have} in ${where}: that runs, but docker save of it is incomplete, and a pull of another image with them fails; attach a disk that has them, or remove what has them`;
    return { code: 'KEPT', label, message };
  });
}

/** All content that a manifest or an index keeps, and itself. */
function contentOf({ content }: Present, target: string): ReadonlySet<string> {
  const found = new Set([target]);
  for (const digest of found)
    for (const [name, below] of content.get(digest)?.labels ?? []) if (name.startsWith(KEEPS_CONTENT)) found.add(below);
  return found;
}
