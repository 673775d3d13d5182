import { readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { hexOf } from '../docker/ids.ts';
import type { Finding } from '../messages/finding.ts';
import { isENOENT } from '../system/errors.ts';
import { linkTarget } from '../system/files.ts';
import { listNames, plural } from '../text/plural.ts';
import type { Containerd } from './client.ts';
import type { LinkFarm } from './link-farm.ts';
import type { ContainerdRoots, PresentContent } from './present.ts';

/** What a containerd's content store has of disks, and which of its users would not have it without. */
export interface SharedBlobs {
  /** Of the farm's links, those that something of the user's needs. */
  readonly links: ReadonlySet<string>;
  readonly findings: readonly Finding[];
}

interface SharedBlobsInput {
  readonly farm: LinkFarm;
  /** Paths of the farm's links that the disks give. */
  readonly offered: Pick<ReadonlySet<string>, 'has'>;
  /** Namespaces of which it is told already that something stands on disks. */
  readonly told: ReadonlySet<string>;
  /** Namespaces that we have filled, with the names that are ours: what no other refers to there is not the user's. */
  readonly ours: ReadonlyMap<string, Pick<ReadonlySet<string>, 'has'>>;
}

const NAME = /^[0-9a-f]{64}$/;
const REFERENCE = 'containerd.io/gc.ref.content.';

/**
 * Finds what of the user's stands on blobs that no disk is to give any more. containerd has one file of a blob for all
 * namespaces: who pulls or imports what is there already, in whichever of them, gets no bytes of his own, and no label of
 * ours tells of it (containerd, core/metadata/content.go, createAndCopy).
 * @throws GrpcError, system errors
 */
export async function sharedBlobs(
  containerd: Containerd,
  roots: ContainerdRoots,
  { farm, offered, told, ours }: SharedBlobsInput,
): Promise<SharedBlobs> {
  const digests = new Set(
    linksIn(join(roots.content, 'blobs/sha256'))
      .map((hex) => `sha256:${hex}`)
      .filter((digest) => !offered.has(farm.blob(digest)))
      .filter((digest) => linkTarget(join(roots.content, 'blobs/sha256', hexOf(digest))) === farm.blob(digest)),
  );
  const links = new Set<string>();
  const findings: Finding[] = [];
  if (digests.size === 0) return { links, findings };
  for (const name of await containerd.namespaces()) {
    const namespace = containerd.namespace(name);
    const [content, images] = await Promise.all([namespace.content(), namespace.images()]);
    const found = content.map(({ digest }) => digest).filter((digest) => digests.has(digest));
    for (const digest of found) links.add(farm.blob(digest));
    if (told.has(name)) continue;
    const labels = new Map(content.map((one) => [one.digest, one]));
    for (const [label, some] of Map.groupBy(found, (digest) => labelOf(farm, digest))) {
      const blobs = new Set(some);
      const who = images
        .filter(
          (image) => ours.get(name)?.has(image.name) !== true && reaches(image.target?.digest ?? '', blobs, labels),
        )
        .map((image) => `image ${image.name}`);
      if (who.length === 0 && ours.has(name)) continue;
      findings.push(findingOf(name, label, blobs.size, who.length === 0 ? ['content of yours'] : who.toSorted()));
    }
  }
  return { links, findings };
}

function linksIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
      entry.isSymbolicLink() && NAME.test(entry.name) ? [entry.name] : [],
    );
  } catch (error) {
    if (isENOENT(error)) return [];
    throw error;
  }
}

/** The disk that has a blob: its label is the name of the folder that it is mounted on. */
function labelOf(farm: LinkFarm, digest: string): string | undefined {
  const path = linkTarget(farm.blob(digest));
  return path === undefined ? undefined : basename(dirname(dirname(dirname(path))));
}

function findingOf(namespace: string, label: string | undefined, blobs: number, names: readonly string[]): Finding {
  const stand = `${listNames(names)} ${names.length === 1 ? 'stands' : 'stand'} on`;
  const [stay, it] = blobs === 1 ? ['stays', 'it'] : ['stay', 'them'];
  const where = `namespace ${namespace} of containerd`;
  if (label === undefined)
    return {
      code: 'KEPT',
      message: `no disk has ${plural(blobs, 'blob')} any more that ${stand} in ${where}; for what stands there to be whole again, attach a disk that has ${it}, or remove what stands there and pull it again`,
    };
  return {
    code: 'KEPT',
    label,
    message: `${plural(blobs, 'blob')} of disk ${label} ${stay} in ${where}, since ${stand} ${it}; to let go of ${it}, remove what stands there`,
  };
}

/** Whether one of the blobs is kept by a manifest or an index. */
function reaches(
  digest: string,
  blobs: ReadonlySet<string>,
  content: ReadonlyMap<string, Pick<PresentContent, 'labels'>>,
): boolean {
  const seen = new Set([digest]);
  for (const one of seen) {
    if (blobs.has(one)) return true;
    for (const [name, below] of content.get(one)?.labels ?? []) if (name.startsWith(REFERENCE)) seen.add(below);
  }
  return false;
}
