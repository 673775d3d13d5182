import { relative } from 'node:path';
import type { DiskLayer } from '../../disk/read-disk.ts';
import { isDigest, type ChainID } from '../../docker/ids.ts';
import { isRecord } from '../../text/is-record.ts';
import type { Store } from '../store.ts';
import { readTextIfThere } from '../../system/files.ts';
import type { Step } from './steps.ts';

/** dockerd keeps so many sources of a layer (moby, distribution/metadata/v2_metadata_service.go, maxMetadata). */
const MAX_SOURCES = 50;

/**
 * Where registries have the layers, so that a pull says "Already exists" instead of downloading: both maps of
 * `distribution/`, merged by union over all disks that have a layer, and with what the store has.
 */
export function distributionSteps(
  store: Store,
  layers: ReadonlyMap<ChainID, readonly DiskLayer[]>,
  ownPaths: ReadonlySet<string>,
): { readonly steps: readonly Step[]; readonly written: readonly string[] } {
  const steps: Step[] = [];
  const written = new Set<string>();
  const write = (path: string, content: string, isNew: boolean): void => {
    const name = relative(store.paths.root, path);
    steps.push({ do: 'write-distribution', path: name, content });
    if (isNew || ownPaths.has(name)) written.add(name);
  };
  for (const copies of layers.values()) {
    const sources = copies.flatMap((layer) => parseSources(layer.registrySources));
    const [layer] = copies;
    if (layer === undefined || sources.length === 0) continue;
    const path = store.paths.metadataByDiffID(layer.diffID);
    // What cannot be read, as a power cut may leave it, is nobody's.
    const present = parseSources(readTextIfThere(path));
    const known = new Set(present.map((source) => keyOf(source)));
    const added = [...new Map(sources.map((source) => [keyOf(source), source] as const)).values()].filter(
      (source) => !known.has(keyOf(source)),
    );
    // The newest stand last, and those are the user's.
    if (added.length > 0) write(path, JSON.stringify([...added, ...present].slice(-MAX_SOURCES)), present.length === 0);
    for (const { Digest } of sources) {
      const digestPath = store.paths.diffIDByDigest(Digest);
      if (!isDigest(readTextIfThere(digestPath))) write(digestPath, layer.diffID, true);
    }
  }
  return { steps, written: [...written] };
}

interface Source {
  readonly Digest: string;
  readonly SourceRepository: string;
  readonly HMAC: string;
}

function parseSources(text: string | undefined): Source[] {
  if (text === undefined) return [];
  try {
    const list: unknown = JSON.parse(text);
    return Array.isArray(list) ? list.flatMap((entry: unknown) => toSource(entry) ?? []) : [];
  } catch {
    return [];
  }
}

function toSource(entry: unknown): Source | undefined {
  if (!isRecord(entry)) return undefined;
  const { Digest, SourceRepository, HMAC } = entry;
  return isDigest(Digest) && typeof SourceRepository === 'string'
    ? { Digest, SourceRepository, HMAC: typeof HMAC === 'string' ? HMAC : '' }
    : undefined;
}

function keyOf(source: Source): string {
  return `${source.Digest} ${source.SourceRepository}`;
}
