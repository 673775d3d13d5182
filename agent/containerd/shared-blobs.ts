import { readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { hexOf } from '../docker/ids.ts';
import type { Finding } from '../messages/finding.ts';
import { isENOENT } from '../system/errors.ts';
import { linkTarget } from '../system/read-files.ts';
import { listNames, plural } from '../text/plural.ts';
import type { Containerd } from './api/containerd-api.ts';
import type { LinkFarm } from './link-farm.ts';
import { DISK, KEEPS_CONTENT } from './own-labels.ts';
import type { NamespacePlan } from './plan/plan-namespace.ts';
import type { ContainerdRoots, PresentContent } from './namespace-present.ts';

/** What in a containerd's content store is from disks, and is needed by something of the user's. */
export interface SharedBlobs {
  /** The farm's links that something of the user's needs. */
  readonly links: ReadonlySet<string>;
  readonly findings: readonly Finding[];
}

interface SharedBlobsInput {
  readonly farm: LinkFarm;
  /** Paths of the farm's links that the disks give. */
  readonly offered: Pick<ReadonlySet<string>, 'has'>;
  /** The plans of the namespaces that we fill. What only names of ours refer to there is not the user's. */
  readonly plans: ReadonlyMap<string, Pick<NamespacePlan, 'own' | 'onLostLayers'>>;
  /** Nothing of ours is to stay. */
  readonly forget: boolean;
}

const NAME = /^[0-9a-f]{64}$/;

/**
 * Finds what of the user's stands on blobs that no disk gives any more. containerd has one file of a blob for all
 * namespaces. Whoever pulls or imports what is already there, in any namespace, gets no bytes of their own, and no
 * label of ours says so (containerd, core/metadata/content.go, createAndCopy).
 * @throws GrpcError, system errors
 */
export async function sharedBlobs(
  containerd: Containerd,
  roots: ContainerdRoots,
  { farm, offered, plans, forget }: SharedBlobsInput,
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
  const namespaces = await Promise.all(
    (await containerd.namespaces()).map(async (name) => {
      const namespace = containerd.namespace(name);
      const [content, images] = await Promise.all([namespace.content(), namespace.images()]);
      return { name, content: new Map(content.map((one) => [one.digest, one])), images };
    }),
  );
  // Content that a pull has found there has no label of ours in the pull's namespace.
  const ofDisks = new Map(
    namespaces.flatMap(({ content }) =>
      [...content].flatMap(([digest, { labels }]) => {
        const label = labels.get(DISK);
        return label === undefined ? [] : [[digest, label] as const];
      }),
    ),
  );
  for (const { name, content, images } of namespaces) {
    const found = [...content.keys()].filter((digest) => digests.has(digest));
    for (const digest of found) links.add(farm.blob(digest));
    const plan = plans.get(name);
    const isToldOf = (image: string): boolean =>
      plan?.own.has(image) === true || plan?.onLostLayers.has(image) === true;
    const users = images
      .filter((image) => !isToldOf(image.name))
      .map(({ name: who, target }) => ({
        who: `image ${who}`,
        blobs: [...keptBy(target?.digest ?? '', content)].filter((digest) => digests.has(digest)),
      }));
    const needed = new Set(users.flatMap(({ blobs }) => blobs));
    for (const [label, some] of Map.groupBy(found, (digest) => labelOf(farm, digest) ?? ofDisks.get(digest))) {
      const kept = new Set(some.filter((digest) => needed.has(digest)));
      if (kept.size === 0 && plan !== undefined) continue;
      const who = users.flatMap((user) => (user.blobs.some((digest) => kept.has(digest)) ? [user.who] : []));
      const [names, count] = kept.size === 0 ? [['content of yours'], some.length] : [who.toSorted(), kept.size];
      findings.push(findingOf({ namespace: name, label, count, names, forget }));
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

/** The label of the disk that has a blob. It is the name of the folder on which the disk is mounted. */
function labelOf(farm: LinkFarm, digest: string): string | undefined {
  const path = linkTarget(farm.blob(digest));
  return path === undefined ? undefined : basename(dirname(dirname(dirname(path))));
}

function findingOf({
  namespace,
  label,
  count,
  names,
  forget,
}: {
  readonly namespace: string;
  readonly label: string | undefined;
  readonly count: number;
  readonly names: readonly string[];
  readonly forget: boolean;
}): Finding {
  const stand = `${listNames(names)} ${names.length === 1 ? 'stands' : 'stand'} on`;
  const [stay, it] = count === 1 ? ['stays', 'it'] : ['stay', 'them'];
  const blobs = plural(count, 'blob');
  const where = `namespace ${namespace} of containerd`;
  const message = forget
    ? `${blobs}${label === undefined ? '' : ` of disk ${label}`} ${stay} in ${where}, since ${stand} ${it}; to let go of ${it}, remove what stands there`
    : `${label === undefined ? `no disk has ${blobs} any more` : `disk ${label} no longer has ${blobs}`} that ${stand} in ${where}: it is incomplete, so that saving it fails, and so does a pull of another image with ${it}; attach a disk that has ${it}, or remove what stands there and pull it again`;
  return { code: 'KEPT', ...(label === undefined ? {} : { label }), message };
}

/** The content that a manifest or an index keeps, including itself. */
function keptBy(digest: string, content: ReadonlyMap<string, Pick<PresentContent, 'labels'>>): ReadonlySet<string> {
  const kept = new Set([digest]);
  for (const one of kept)
    for (const [name, below] of content.get(one)?.labels ?? []) if (name.startsWith(KEEPS_CONTENT)) kept.add(below);
  return kept;
}
