import type { LoadedDisk } from '../boot/loaded-disk.ts';
import type { Preload } from '../boot/preload.ts';
import { repositoryOf } from '../docker/reference.ts';
import type { Finding } from '../messages/finding.ts';
import type { DiskImage } from '../disk/read-disk.ts';
import type { ImageID } from '../docker/ids.ts';
import { dockerNames } from './docker-names.ts';
import { hasImage, pendingImages } from './pending.ts';
import type { ImageStatus } from './schema.ts';
import { containerdNames, isInAllNamespaces } from './store-status.ts';
import { runFailure } from './summary.ts';

/** Every image of the disks in use, and the reason if dockerd does not have it. */
export function imageStatuses(run: Preload): ImageStatus[] {
  const byImage = new Map<string, Finding>();
  for (const finding of run.findings) {
    const key = `${finding.label ?? ''} ${finding.image ?? ''}`;
    if (!byImage.has(key)) byImage.set(key, finding);
  }
  const names = run.plan === undefined && run.containerd !== undefined ? withDigests(run) : dockerNames(run);
  return run.disks.flatMap((disk) => [...validImages(run, disk, byImage, names), ...invalidImages(run, disk)]);
}

/** A tag in containerd tells the digest, too: dockerd has that name without a record of its own. */
function withDigests(run: Preload): Map<ImageID, readonly string[]> {
  const references = run.disks.flatMap(({ content }) => [...content.references]);
  return new Map(
    [...containerdNames(run)].map(([id, found]) => {
      const repositories = new Set(found.map(repositoryOf));
      const digests = references.filter(
        ([name, image]) => image === id && name.includes('@') && repositories.has(repositoryOf(name)),
      );
      return [id, [...new Set([...found, ...digests.map(([name]) => name)])]] as const;
    }),
  );
}

function validImages(
  run: Preload,
  { content }: LoadedDisk,
  byImage: ReadonlyMap<string, Finding>,
  dockerd: ReadonlyMap<ImageID, readonly string[]>,
): ImageStatus[] {
  const names = Map.groupBy(content.references, ([, id]) => id);
  return [...content.images.values()].map((image) => {
    const { id } = image;
    const references = names.get(id)?.map(([reference]) => reference) ?? [];
    const about = [id, ...references].flatMap((name) => byImage.get(`${content.label} ${name}`) ?? []);
    const fault =
      (run.plan === undefined && run.containerd !== undefined
        ? undefined
        : faultOf(run, image, about, content.label)) ??
      (isInAllNamespaces(run, id) ? undefined : namespaceFault(run, about));
    const usable = fault === undefined;
    return {
      id,
      references,
      disk: content.label,
      usable,
      code: fault?.code ?? null,
      reason: fault?.message ?? null,
      dockerReferences: usable ? (dockerd.get(id) ?? []).toSorted() : [],
    };
  });
}

type Fault = Omit<Finding, 'code'> & { readonly code: string };

/** Why dockerd does not have an image of a disk, or undefined if it does. */
function faultOf(run: Preload, image: DiskImage, about: readonly Finding[], label: string): Fault | undefined {
  const { plan } = run;
  const { id } = image;
  if (hasImage(run, image)) return undefined;
  const failure = runFailure(run);
  if (plan === undefined)
    return (
      failure ??
      run.findings.find((finding) => finding.label === label) ?? {
        code: 'INTERNAL',
        message: 'the store could not be filled',
      }
    );
  if (!plan.offer.images.has(id))
    return (
      about.find((finding) => finding.code === 'IMAGE_INCOMPLETE') ??
      about[0] ?? { code: 'IMAGE_INCOMPLETE', message: 'a layer of it is missing' }
    );
  if (!plan.wanted.has(id))
    return (
      about.find((finding) => finding.code !== 'IMAGE_INCOMPLETE') ?? {
        code: 'TAG_CONFLICT',
        message: 'all its names belong to another disk or to the user',
      }
    );
  if (!pendingImages(run).has(id)) return undefined;
  if (failure === undefined && run.removed?.has(id) === true)
    return {
      code: 'REMOVED',
      message:
        'dockerd had it, and it was removed; it comes back when Docker next starts; run: systemctl restart docker',
    };
  return failure ?? { code: 'PENDING', message: 'it comes when Docker next starts; run: systemctl restart docker' };
}

/** Why a namespace of containerd does not have an image of a disk. */
function namespaceFault(run: Preload, about: readonly Finding[]): Fault {
  const state = run.containerd?.state;
  if (state === 'waiting') return { code: 'PENDING', message: 'it comes when containerd runs' };
  if (state === 'planned')
    return { code: 'PENDING', message: 'containerd does not have it yet; run: docker-preloader apply' };
  return (
    (state === 'failed' ? run.containerd?.findings[0] : undefined) ??
    about[0] ?? { code: 'TAG_CONFLICT', message: 'all its names belong to another disk or to the user' }
  );
}

/** Images of a disk whose configuration is not valid. */
function invalidImages(run: Preload, { content }: LoadedDisk): ImageStatus[] {
  return run.findings.flatMap((finding) =>
    finding.code === 'IMAGE_INVALID' && finding.label === content.label && finding.image !== undefined
      ? [
          {
            id: finding.image,
            references: [],
            disk: content.label,
            usable: false,
            code: finding.code,
            reason: finding.message,
            dockerReferences: [],
          },
        ]
      : [],
  );
}
