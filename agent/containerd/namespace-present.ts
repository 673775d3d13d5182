import { existsSync, lstatSync } from 'node:fs';
import { join } from 'node:path';
import { asChainID, type ChainID } from '../docker/ids.ts';
import { MAX_INDEX_DEPTH } from '../disk/limits.ts';
import { PreloaderError } from '../system/errors.ts';
import { isDirectory, linkTarget, namesIn } from '../system/read-files.ts';
import { SNAPSHOTTER, type Containerd, type Namespace } from './api/containerd-api.ts';
import { KEEPS_SNAPSHOT, PATH, topLayerOf } from './own-labels.ts';
import { COMMITTED, type ImageRecord, type Plugin } from './api/services.ts';

/** Where a containerd keeps what. */
export interface ContainerdRoots {
  /** The snapshotter's root. */
  readonly snapshots: string;
  readonly content: string;
  /** Whether content that is in the store can be made known to a namespace without its bytes. */
  readonly sharesContent: boolean;
}

/**
 * What is in the place of a link of ours. `link`: a link. `free`: nothing, or an empty folder. `whole`: the blob
 * itself, which a pull has written in place of a link that led nowhere. `taken`: something else, which we do not
 * replace.
 */
type LinkPlace = { readonly is: 'link'; readonly target: string } | { readonly is: 'free' | 'whole' | 'taken' };

/** A snapshot or a blob that we have put there. */
export interface OwnPart {
  /** Where its link is. */
  readonly path: string;
  readonly place: LinkPlace;
}

export interface PresentSnapshot {
  readonly parent: string;
  readonly isCommitted: boolean;
  /** Undefined where it is the user's. */
  readonly own: OwnPart | undefined;
  readonly labels: ReadonlyMap<string, string>;
}

export interface PresentContent {
  readonly labels: ReadonlyMap<string, string>;
  /** Undefined if its bytes are in the store, whoever has put them there. */
  readonly own: OwnPart | undefined;
}

/** What a namespace holds, of ours and of the user's. */
export interface Present {
  readonly namespace: string;
  /** By name. */
  readonly images: ReadonlyMap<string, ImageRecord>;
  /** By name, which is the ChainID of an image's layer. */
  readonly snapshots: ReadonlyMap<string, PresentSnapshot>;
  /** By digest. */
  readonly content: ReadonlyMap<string, PresentContent>;
  /** Leases of runs of ours that did not come to their end. */
  readonly staleLeases: readonly string[];
}

/** What leases of ours are called before the number of the process. */
export const LEASE_PREFIX = 'docker-preloader-';

/**
 * The labels that lead to what an index lists, or to a manifest's configuration (containerd, core/images/handlers.go,
 * ChildGCLabels). If dockerd has committed or built the image, the configuration has a number, as the layers have
 * (moby, daemon/containerd/image_commit.go, writeContentsForImage).
 */
const IMAGE_PART = /^containerd\.io\/gc\.ref\.content\.(?:m\.\d+|config|\d+)$/;
const SNAPSHOT_LINK = /^snapshots\/\d+\/fs$/;
const BLOB_LINK = /^blobs\/sha256\/[0-9a-f]{64}$/;

/** Asks where a containerd keeps what. @throws PreloaderError STORE_UNSUPPORTED; GrpcError */
export async function readRoots(containerd: Containerd): Promise<ContainerdRoots> {
  const plugins = await containerd.plugins();
  const rootOf = (type: string, id: string): string => {
    const plugin = plugins.find((one) => one.type === type && one.id === id);
    const root = plugin?.exports.get('root');
    if (root === undefined || (plugin?.initErr?.message ?? '') !== '')
      throw new PreloaderError(
        'STORE_UNSUPPORTED',
        `containerd is left alone: expected its plugin ${type}.${id} with a root, found ${whyNot(plugin)}`,
      );
    return root;
  };
  const metadata = plugins.find(({ type }) => type === 'io.containerd.metadata.v1');
  return {
    snapshots: rootOf('io.containerd.snapshotter.v1', SNAPSHOTTER),
    content: rootOf('io.containerd.content.v1', 'content'),
    sharesContent: metadata?.exports.get('policy') !== 'isolated',
  };
}

function whyNot(plugin: Plugin | undefined): string {
  return plugin === undefined ? 'none' : (plugin.initErr?.message ?? 'one without');
}

/** Reads what a namespace holds. @throws GrpcError, system errors */
export async function readPresent(namespace: Namespace, roots: ContainerdRoots): Promise<Present> {
  const [images, snapshots, content, leases] = await Promise.all([
    namespace.images(),
    readSnapshots(namespace, roots),
    namespace.content(),
    namespace.leases(),
  ]);
  return {
    namespace: namespace.name,
    images: new Map(images.map((image) => [image.name, image])),
    snapshots,
    content: await withoutCollected(
      new Map(
        content.map(({ digest, size, labels }) => [
          digest,
          { labels, own: ownPart(labels, roots.content, BLOB_LINK, size) },
        ]),
      ),
      async () => (await namespace.content()).map(({ digest }) => digest),
    ),
    staleLeases: leases.filter((id) => id.startsWith(LEASE_PREFIX)),
  };
}

/** Reads a namespace's snapshots, by name. @throws GrpcError, system errors */
export async function readSnapshots(
  namespace: Namespace,
  { snapshots: root }: Pick<ContainerdRoots, 'snapshots'>,
): Promise<ReadonlyMap<string, PresentSnapshot>> {
  return withoutCollected(
    new Map(
      (await namespace.snapshots()).map(({ name, parent, kind, labels }) => [
        name,
        { parent, isCommitted: kind === COMMITTED, labels, own: ownPart(labels, root, SNAPSHOT_LINK) },
      ]),
    ),
    async () => (await namespace.snapshots()).map(({ name }) => name),
  );
}

/**
 * Leaves out what was collected meanwhile. containerd may collect something after it was listed and before its link is
 * looked at. It first forgets it, and then removes the link (containerd, core/metadata/db.go, GarbageCollect). So all
 * is listed once more if anything has no link.
 */
async function withoutCollected<Part extends { readonly own: OwnPart | undefined }>(
  parts: ReadonlyMap<string, Part>,
  list: () => Promise<readonly string[]>,
): Promise<ReadonlyMap<string, Part>> {
  const isWithout = ({ own }: Part): boolean => own?.place.is === 'free';
  if (![...parts.values()].some(isWithout)) return parts;
  const now = new Set(await list());
  return new Map([...parts].filter(([name, part]) => !isWithout(part) || now.has(name)));
}

function ownPart(
  labels: ReadonlyMap<string, string>,
  root: string,
  pattern: RegExp,
  sizeBytes?: number,
): OwnPart | undefined {
  const relative = labels.get(PATH);
  if (relative === undefined || !pattern.test(relative)) return undefined;
  const path = join(root, relative);
  return { path, place: placeOf(path, sizeBytes) };
}

function placeOf(path: string, sizeBytes: number | undefined): LinkPlace {
  const target = linkTarget(path);
  if (target !== undefined) return { is: 'link', target };
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there?.isFile() === true && there.size === sizeBytes) return { is: 'whole' };
  const isFree = !existsSync(path) || (isDirectory(path) && namesIn(path).length === 0);
  return { is: isFree ? 'free' : 'taken' };
}

/** A layer, and the layers that it stands on, nearest first. */
export function layersFrom({ snapshots }: Pick<Present, 'snapshots'>, name: string): ChainID[] {
  const chains: ChainID[] = [];
  for (
    let at: string | undefined = name;
    at !== undefined && at !== '' && snapshots.has(at) && chains.length <= snapshots.size;
    at = snapshots.get(at)?.parent
  )
    chains.push(at as ChainID);
  return chains;
}

/**
 * The ChainID of an image's uppermost layer. A record of ours tells it. For another one, its configuration does if the
 * image is unpacked.
 */
export function topLayerIn({ content }: Pick<Present, 'content'>, record: ImageRecord): ChainID | undefined {
  const keptBy = (digest: string, depth: number): ChainID | undefined => {
    const labels = content.get(digest)?.labels ?? new Map<string, string>();
    const kept = asChainID(labels.get(KEEPS_SNAPSHOT));
    if (kept !== undefined || depth === 0) return kept;
    for (const [name, below] of labels) {
      const found = IMAGE_PART.test(name) ? keptBy(below, depth - 1) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  };
  return topLayerOf(record) ?? keptBy(record.target?.digest ?? '', MAX_INDEX_DEPTH + 1);
}
