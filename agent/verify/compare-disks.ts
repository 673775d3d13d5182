import type { Inspection } from './inspect-disk.ts';

/** What two disks have, seen from the first, `a`, to the second, `b`. */
export interface DiskDifference {
  /** Whether the disks have the same content, and the same manifest and signer if any. */
  readonly same: boolean;
  /**
   * Fingerprints of the keys that have signed them, null where none has. A guest may trust the one and not the other.
   */
  readonly signedBy: { readonly a: string | null; readonly b: string | null };
  readonly images: {
    readonly removed: readonly NamedImage[];
    readonly added: readonly NamedImage[];
    /** Images on both disks that are not the same in containerd's store. */
    readonly changed: readonly { readonly id: string; readonly a: readonly string[]; readonly b: readonly string[] }[];
  };
  /** Names, with tags and with digests. */
  readonly tags: {
    readonly removed: readonly Tag[];
    readonly added: readonly Tag[];
    readonly moved: readonly { readonly reference: string; readonly a: string; readonly b: string }[];
  };
  readonly layers: { readonly removed: readonly ComparedLayer[]; readonly added: readonly ComparedLayer[] };
  /** The size of layers, as they are on the disks. */
  readonly bytes: { readonly common: number; readonly removed: number; readonly added: number };
  readonly blobs: { readonly a: Inspection['blobs']; readonly b: Inspection['blobs'] };
  readonly common: { readonly images: number; readonly layers: number };
}

interface NamedImage {
  readonly id: string;
  readonly references: readonly string[];
}

interface Tag {
  readonly reference: string;
  readonly id: string;
}

interface ComparedLayer {
  readonly chainId: string;
  readonly diffId: string;
  readonly sizeBytes: number;
}

/** Compares what two disks say of themselves. Contents of layers are named by their digests, and are not read. */
export function compareDisks(a: Inspection, b: Inspection): DiskDifference {
  const images = both(new Map(a.images.map((one) => [one.id, one])), new Map(b.images.map((one) => [one.id, one])));
  const tags = both(tagsOf(a), tagsOf(b));
  const layers = both(
    new Map(a.layers.map((one) => [one.chainId, one])),
    new Map(b.layers.map((one) => [one.chainId, one])),
  );
  const changed = images.common.flatMap(([id, first, second]) => {
    const [one, other] = [first, second].map(({ targets }) => targets.map(({ digest }) => digest).toSorted());
    return one?.join() === other?.join() ? [] : [{ id, a: one ?? [], b: other ?? [] }];
  });
  const moved = tags.common.flatMap(([reference, first, second]) =>
    first === second ? [] : [{ reference, a: first, b: second }],
  );
  const signedBy = { a: a.signature?.fingerprint ?? null, b: b.signature?.fingerprint ?? null };
  const lists = [images.removed, images.added, changed, tags.removed, tags.added, moved, layers.removed, layers.added];
  return {
    // A manifest alone does not do: the agent takes what is on the disk, whatever the manifest says of it.
    same:
      a.manifest?.digest === b.manifest?.digest &&
      signedBy.a === signedBy.b &&
      lists.every((list) => list.length === 0) &&
      a.blobs.bytes === b.blobs.bytes,
    signedBy,
    images: { removed: images.removed.map(named), added: images.added.map(named), changed },
    tags: {
      removed: tags.removed.map(([reference, id]) => ({ reference, id })),
      added: tags.added.map(([reference, id]) => ({ reference, id })),
      moved,
    },
    layers: { removed: layers.removed.map(compared), added: layers.added.map(compared) },
    bytes: {
      common: sum(layers.common.map(([, layer]) => layer)),
      removed: sum(layers.removed.map(([, layer]) => layer)),
      added: sum(layers.added.map(([, layer]) => layer)),
    },
    blobs: { a: a.blobs, b: b.blobs },
    common: { images: images.common.length, layers: layers.common.length },
  };
}

interface Both<Value> {
  readonly removed: readonly (readonly [string, Value])[];
  readonly added: readonly (readonly [string, Value])[];
  readonly common: readonly (readonly [string, Value, Value])[];
}

/** What only the one has, what only the other has, and what both have, by name. */
function both<Value>(a: ReadonlyMap<string, Value>, b: ReadonlyMap<string, Value>): Both<Value> {
  const sorted = (entries: Iterable<[string, Value]>): [string, Value][] =>
    [...entries].toSorted(([one], [other]) => (one < other ? -1 : 1));
  return {
    removed: sorted(a).filter(([name]) => !b.has(name)),
    added: sorted(b).filter(([name]) => !a.has(name)),
    common: sorted(a).flatMap(([name, value]) => {
      const other = b.get(name);
      return other === undefined ? [] : [[name, value, other] as const];
    }),
  };
}

function tagsOf({ images }: Inspection): Map<string, string> {
  return new Map(images.flatMap(({ id, references }) => references.map((reference) => [reference, id] as const)));
}

function named([id, { references }]: readonly [string, NamedImage]): NamedImage {
  return { id, references };
}

function compared([chainId, { diffId, sizeBytes }]: readonly [string, ComparedLayer]): ComparedLayer {
  return { chainId, diffId, sizeBytes };
}

function sum(layers: readonly ComparedLayer[]): number {
  return layers.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
}
