import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import type { DiskLayer } from '../../disk/read-disk.ts';
import { asDiffID, isDigest, type ChainID, type DiffID } from '../../docker/ids.ts';
import { readTextIfThere } from '../../system/read-files.ts';
import { isRecord } from '../../text/is-record.ts';
import type { Ledger } from '../store/ledger.ts';
import type { Store } from '../store/store.ts';
import type { Step } from './steps.ts';
import { parseStrictly } from '../../text/strict-json.ts';

/**
 * dockerd keeps at most this many sources of a layer (moby, distribution/metadata/v2_metadata_service.go, maxMetadata).
 */
const MAX_SOURCES = 50;

/** Layers, each with its copies on disks. */
export type LayerCopies = ReadonlyMap<ChainID, readonly DiskLayer[]>;

export interface DistributionInput {
  /** Layers of the images that are to be in the store. */
  readonly wanted: LayerCopies;
  /** All layers that stay in the store and that a disk has. */
  readonly staying: LayerCopies;
  readonly removed: readonly ChainID[];
}

export interface DistributionSteps {
  readonly add: readonly Step[];
  readonly remove: readonly Step[];
  /** The files in `distribution/` that are ours afterwards. */
  readonly own: ReadonlySet<string>;
}

/**
 * The steps for both maps of `distribution/`. They say where registries have the layers, so that a pull says "Already
 * exists" instead of downloading. The maps of all disks that have a layer are merged with those of the store. Our files
 * for layers that do not stay are removed.
 */
export function distributionSteps(store: Store, ledger: Ledger, input: DistributionInput): DistributionSteps {
  const { add, written } = additions(store, input.wanted, ledger.distribution);
  // A killed run may have removed some of them.
  const ownPaths = [...ledger.distribution].filter(
    (path) => ledger.next === undefined || existsSync(join(store.paths.root, path)),
  );
  const stale = new Set(stalePaths(store, ownPaths, input));
  return {
    add,
    remove: [...stale].map((path): Step => ({ do: 'remove-distribution', path })),
    own: new Set([...ownPaths, ...written].filter((path) => !stale.has(path))),
  };
}

function additions(
  store: Store,
  layers: LayerCopies,
  ownPaths: ReadonlySet<string>,
): { readonly add: readonly Step[]; readonly written: readonly string[] } {
  const add: Step[] = [];
  const written = new Set<string>();
  const write = (path: string, content: string, isNew: boolean): void => {
    const name = relative(store.paths.root, path);
    add.push({ do: 'write-distribution', path: name, content });
    if (isNew || ownPaths.has(name)) written.add(name);
  };
  for (const copies of layers.values()) {
    const sources = copies.flatMap((layer) => parseSources(layer.registrySources));
    const [layer] = copies;
    if (layer === undefined || sources.length === 0) continue;
    const path = store.paths.metadataByDiffID(layer.diffID);
    // A file that cannot be read, as after a power cut, belongs to nobody.
    const present = parseSources(readTextIfThere(path));
    const known = new Set(present.map((source) => keyOf(source)));
    const added = [...new Map(sources.map((source) => [keyOf(source), source] as const)).values()].filter(
      (source) => !known.has(keyOf(source)),
    );
    // The newest are at the end, and those are the user's.
    if (added.length > 0) write(path, JSON.stringify([...added, ...present].slice(-MAX_SOURCES)), present.length === 0);
    for (const { Digest } of sources) {
      const digestPath = store.paths.diffIDByDigest(Digest);
      if (!isDigest(readTextIfThere(digestPath))) write(digestPath, layer.diffID, true);
    }
  }
  return { add, written: [...written] };
}

/** Our files in `distribution/` for layers that do not stay. */
function stalePaths(store: Store, ownPaths: readonly string[], { staying, removed }: DistributionInput): string[] {
  if (ownPaths.length === 0) return [];
  // We do not ask the layers that go: after a power cut their records may be empty, and then these files would stay for
  // ever.
  const offered = new Set(
    [...staying.values()].flat().flatMap((layer) => filesOf(store, layer.diffID, layer.registrySources)),
  );
  const others = ownPaths.filter((path) => !offered.has(path));
  if (others.length === 0) return [];
  // The user may have pulled such a layer since, or something of his may stand on it.
  const gone = new Set(removed);
  const recorded = new Set(
    [...store.layers.recorded].flatMap((chain) => {
      const diffID = gone.has(chain) ? undefined : asDiffID(readTextIfThere(`${store.paths.layer(chain)}/diff`));
      return diffID === undefined ? [] : filesOf(store, diffID, readTextIfThere(store.paths.metadataByDiffID(diffID)));
    }),
  );
  return others.filter((path) => !recorded.has(path));
}

/** The files for a layer. @param sources the content of the file that is named for it */
function filesOf({ paths }: Store, diffID: DiffID, sources: string | undefined): string[] {
  return [paths.metadataByDiffID(diffID), ...digestsIn(sources).map((digest) => paths.diffIDByDigest(digest))].map(
    (path) => relative(paths.root, path),
  );
}

interface Source {
  readonly Digest: string;
  readonly SourceRepository: string;
  readonly HMAC: string;
}

function parseSources(text: string | undefined): Source[] {
  return entriesIn(text).flatMap((entry) => {
    const { Digest, SourceRepository, HMAC } = entry;
    return isDigest(Digest) && typeof SourceRepository === 'string'
      ? [{ Digest, SourceRepository, HMAC: typeof HMAC === 'string' ? HMAC : '' }]
      : [];
  });
}

function digestsIn(text: string | undefined): string[] {
  return entriesIn(text).flatMap(({ Digest }) => (isDigest(Digest) ? [Digest] : []));
}

function entriesIn(text: string | undefined): Record<string, unknown>[] {
  try {
    const list: unknown = parseStrictly(text ?? '[]');
    return Array.isArray(list) ? list.filter(isRecord) : [];
  } catch {
    return [];
  }
}

function keyOf(source: Source): string {
  return `${source.Digest} ${source.SourceRepository}`;
}
