import type { Finding } from '../messages/finding.ts';
import { isLabel } from '../config/label.ts';
import type { DiskContent, DiskImage, DiskLayer } from '../disk/read-disk.ts';
import type { ChainID, ImageID } from '../docker/ids.ts';
import { plural } from '../text/plural.ts';

/** A disk's content with its place among the disks. */
export interface RankedDisk {
  readonly content: DiskContent;
  readonly rank: number;
}

/** A reference with a tag or a digest, and the disk that has won it. */
export interface DiskReference {
  readonly image: ImageID;
  readonly label: string;
}

/** What all disks together offer: whole images, and for each layer the disks that have it. */
export interface Offer {
  readonly images: ReadonlyMap<ImageID, DiskImage>;
  readonly references: ReadonlyMap<string, DiskReference>;
  /** Images for which any disk has a reference, even if another disk has won it. */
  readonly named: ReadonlySet<ImageID>;
  /**
   * The copies of each layer, highest precedence first. If a pinned disk has the layer, only copies of pinned disks
   * count, because another disk can have anything under that digest.
   */
  readonly layers: ReadonlyMap<ChainID, readonly DiskLayer[]>;
  readonly findings: readonly Finding[];
}

export interface OfferOptions {
  /** Whether the user's own layer is whole in the store. Undefined if he has none, so that a disk's is taken. */
  readonly users: (chain: ChainID) => boolean | undefined;
  /** Images for which there is no room. */
  readonly beyond: ReadonlyMap<ImageID, unknown>;
}

/**
 * Puts together what the disks have. Disks may build on each other, so a layer may come from any of them, or be the
 * user's. If two disks have the same tag, the one that is later in `labels` gets it, then the one with the higher
 * priority in its manifest, then the one whose label sorts last.
 */
export function offerOf(disks: readonly RankedDisk[], { users, beyond }: OfferOptions): Offer {
  const findings: Finding[] = [];
  const ordered = disks.toSorted(byPrecedence).map((disk) => disk.content);
  const layers = new Map<ChainID, DiskLayer[]>();
  const pinned = new Set(ordered.flatMap((disk) => (disk.pinned ? [...disk.layers.keys()] : [])));
  for (const disk of ordered.toReversed()) {
    for (const [chain, layer] of disk.layers)
      if (disk.pinned || !pinned.has(chain)) layers.set(chain, [...(layers.get(chain) ?? []), layer]);
  }
  const pinnedImages = new Set(ordered.flatMap((disk) => (disk.pinned ? [...disk.images.keys()] : [])));
  const images = new Map<ImageID, DiskImage>();
  const references = new Map<string, DiskReference>();
  for (const disk of ordered) {
    for (const image of disk.images.values()) {
      if (beyond.has(image.id)) continue;
      const missing = image.chains.filter((chain) => !(users(chain) ?? layers.has(chain)));
      // An image's digest does not cover its metadata, so an unpinned disk must not say what a pinned image was built
      // from.
      const metadata = disk.pinned || !pinnedImages.has(image.id) ? image.metadata : [];
      if (missing.length === 0)
        images.set(image.id, { ...image, metadata: new Map([...(images.get(image.id)?.metadata ?? []), ...metadata]) });
      else findings.push(incomplete(disk, image, missing));
    }
    for (const [name, image] of disk.references) {
      if (!images.has(image)) continue;
      const before = references.get(name);
      if (before !== undefined && before.image !== image) {
        const conflict = { disks: [before.label, disk.label], user: false, winner: disk.label };
        findings.push({
          code: 'TAG_CONFLICT',
          label: disk.label,
          image: name,
          message: `${name}: claimed by disks ${before.label} and ${disk.label}; ${disk.label} has it`,
          conflict,
        });
      }
      references.set(name, { image, label: disk.label });
    }
  }
  const named = new Set(ordered.flatMap((disk) => [...disk.references.values()]));
  return { images, references, named, layers, findings };
}

export function byPrecedence(a: RankedDisk, b: RankedDisk): number {
  const priority = (disk: RankedDisk): number => disk.content.manifest?.priority ?? 0;
  return a.rank - b.rank || priority(a) - priority(b) || (a.content.label < b.content.label ? -1 : 1);
}

function incomplete(disk: DiskContent, image: DiskImage, missing: readonly ChainID[]): Finding {
  const name = [...disk.references].find(([, id]) => id === image.id)?.[0] ?? image.id;
  const bases = (disk.manifest?.bases ?? [])
    .filter((base) => base.layers.some((chain) => (missing as readonly string[]).includes(chain)))
    .map((base) => base.label)
    .filter(isLabel);
  const cure =
    bases.length === 0
      ? 'neither an attached disk nor the store has them whole'
      : `attach disk ${bases.join(', ')}, which has them`;
  return {
    code: 'IMAGE_INCOMPLETE',
    label: disk.label,
    image: name,
    message: `disk ${disk.label}: image ${name} is left out: ${missing.length} of its ${plural(image.chains.length, 'layer')} ${missing.length === 1 ? 'is' : 'are'} missing (${missing[0]?.slice(0, 19) ?? ''}…); ${cure}`,
  };
}
