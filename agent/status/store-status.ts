import type { Preload } from '../boot/preload.ts';
import { familiarName } from '../containerd/record-names.ts';
import type { NamespacePlan } from '../containerd/plan/plan-namespace.ts';
import type { ImageID } from '../docker/ids.ts';
import { dockerNames } from './docker-names.ts';
import { hasImage } from './pending.ts';
import type { StoreStatus } from './schema.ts';
import { runFailure } from './summary.ts';

/** Each store that is filled, and each namespace of containerd. */
export function storeStatuses(run: Preload): StoreStatus[] {
  return [...overlay2Status(run), ...namespaceStatuses(run)];
}

function overlay2Status(run: Preload): StoreStatus[] {
  const { plan, dataRoot, applied } = run;
  if (plan === undefined || dataRoot === undefined) return [];
  const images = [...plan.offer.images.values()].filter((image) => hasImage(run, image));
  const names = dockerNames(run);
  const pending = applied ? 0 : plan.steps.length;
  const failed = runFailure(run) !== undefined;
  return [
    {
      store: 'overlay2',
      place: dataRoot,
      namespace: null,
      state: failed ? 'failed' : pending > 0 ? 'pending' : 'in-use',
      version: null,
      images: images.length,
      pending,
      names: images.flatMap(({ id }) => names.get(id) ?? []).toSorted(),
    },
  ];
}

function namespaceStatuses({ containerd }: Preload): StoreStatus[] {
  if (containerd === undefined) return [];
  const { address, namespaces, state, version, plans } = containerd;
  return namespaces.map((namespace) => {
    const plan = plans.find((one) => one.namespace === namespace);
    const images = plan === undefined ? new Map<ImageID, string[]>() : imagesOf(plan, state === 'filled');
    const pending = plan === undefined || state === 'filled' ? 0 : plan.steps.length;
    return {
      store: 'containerd',
      place: address,
      namespace,
      state: state === 'failed' || state === 'waiting' ? state : pending > 0 ? 'pending' : 'in-use',
      version: version ?? null,
      images: images.size,
      pending,
      names: [...images.values()].flat().toSorted(),
    };
  });
}

function imagesOf({ images }: NamespacePlan, isFilled: boolean): ReadonlyMap<ImageID, readonly string[]> {
  return isFilled ? images.after : images.before;
}

/** Names in Docker's namespace of containerd, where it has images there; else of each image in all namespaces. */
export function containerdNames({ containerd }: Preload): ReadonlyMap<ImageID, readonly string[]> {
  const names = new Map<ImageID, string[]>();
  for (const plan of containerd?.plans ?? [])
    for (const [id, found] of imagesOf(plan, containerd?.state === 'filled'))
      names.set(id, [...new Set([...(names.get(id) ?? []), ...found.map(familiarName)])]);
  return names;
}

/** Whether each namespace that is filled has an image. */
export function isInAllNamespaces({ containerd }: Preload, id: ImageID): boolean {
  if (containerd === undefined) return true;
  const { plans, namespaces, state } = containerd;
  return namespaces.every((namespace) =>
    plans.some((plan) => plan.namespace === namespace && imagesOf(plan, state === 'filled').has(id)),
  );
}
