import type { LoadedDisk } from '../boot/loaded-disk.ts';
import type { Preload } from '../boot/preload.ts';
import type { Finding } from '../messages/finding.ts';
import type { DiskImage } from '../disk/read-disk.ts';
import type { ImageID } from '../docker/ids.ts';
import { hasImage, pendingImages } from './pending.ts';
import type { ImageStatus } from './schema.ts';
import { runFailure } from './summary.ts';

/** Every image of the disks in use, and the reason if dockerd does not have it. */
export function imageStatuses(run: Preload): ImageStatus[] {
  const byImage = new Map<string, Finding>();
  for (const finding of run.findings) {
    const key = `${finding.label ?? ''} ${finding.image ?? ''}`;
    if (!byImage.has(key)) byImage.set(key, finding);
  }
  const names = dockerNames(run);
  return run.disks.flatMap((disk) => [...validImages(run, disk, byImage, names), ...invalidImages(run, disk)]);
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
    const fault = faultOf(run, image, about, content.label);
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

/** The names that dockerd has for each image, as they were found or as the run has left them. */
function dockerNames({ plan, store, applied }: Preload): Map<ImageID, string[]> {
  const references = new Map<string, ImageID | undefined>(store?.references);
  if (applied)
    for (const step of plan?.steps ?? [])
      if (step.do === 'write-references') for (const [name, id] of step.changes) references.set(name, id);
  const names = new Map<ImageID, string[]>();
  for (const [name, id] of references) {
    if (id === undefined) continue;
    const others = names.get(id);
    if (others === undefined) names.set(id, [name]);
    else others.push(name);
  }
  return names;
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
