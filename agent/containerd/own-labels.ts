import { asChainID, type ChainID } from '../docker/ids.ts';
import { sha256Bytes } from '../system/digest.ts';
import { danglingName, KUBERNETES, nameWithoutTag } from './record-names.ts';
import type { ImageRecord } from './api/services.ts';

/** On an image's record: what tells it from a copy. */
const IMAGE = 'docker-preloader/image';
/** On an image's record: the digest that it names, and the ChainID of that image's uppermost layer. */
const LAYER = 'docker-preloader/layer';
/** On a record that keeps a user's image while a disk has its name: that name. */
const DISPLACED = 'docker-preloader/displaced';
/** On an image's record, a snapshot or a blob: the label of the disk that it is from. */
export const DISK = 'docker-preloader/disk';
/** On a snapshot or a blob: where its link is, below the root of snapshots or of content. */
export const PATH = 'docker-preloader/path';

/** The names of labels on a configuration or manifest that keep what they name (containerd, core/metadata/gc.go). */
export const KEEPS_SNAPSHOT = 'containerd.io/gc.ref.snapshot.overlayfs';
export const KEEPS_CONTENT = 'containerd.io/gc.ref.content';

/** What a record of ours is made with. */
export interface OwnImage {
  readonly name: string;
  readonly digest: string;
  readonly disk: string;
  readonly top: ChainID | undefined;
}

/** The labels of a record of ours. */
export function ownImageLabels(namespace: string, { name, digest, disk, top }: OwnImage): ReadonlyMap<string, string> {
  return new Map([
    [IMAGE, markOf(name, digest)],
    [DISK, disk],
    ...(top === undefined ? [] : ([[LAYER, `${digest} ${top}`]] as const)),
    // CRI gives the first of these to what it pulls. kubelet's collection of images leaves alone what is pinned.
    ...(namespace === KUBERNETES
      ? ([
          ['io.cri-containerd.image', 'managed'],
          ['io.cri-containerd.pinned', 'pinned'],
        ] as const)
      : []),
  ]);
}

/**
 * Whether a record is ours, and as we left it. `docker tag` copies labels to the new name, and `docker load` leaves
 * them in place when it puts another image under the name. So the label holds for one name and one image. When the user
 * loads the same image again, the label stays, too, and only the record's time changes. Then the record is the user's.
 * (In Kubernetes' namespace the CRI plugin itself changes records.) If an image of ours loses its last tag to another
 * image, dockerd keeps it under a name of its own, with all labels.
 */
export function isOwnImage(namespace: string, record: ImageRecord): boolean {
  const { name, target, labels, createdAt, updatedAt } = record;
  if (target === undefined) return false;
  const isMarked = labels.get(IMAGE) === markOf(name, target.digest);
  if (!isMarked && !isLeftOver(record, target.digest)) return false;
  return (
    namespace === KUBERNETES || (createdAt?.seconds === updatedAt?.seconds && createdAt?.nanos === updatedAt?.nanos)
  );
}

/** Whether a record has our mark, for whichever name and image. */
export function hasMark({ labels }: ImageRecord): boolean {
  return labels.has(IMAGE);
}

function isLeftOver(record: ImageRecord, digest: string): boolean {
  return record.name === danglingName(digest) && topLayerOf(record) !== undefined && !record.labels.has(DISPLACED);
}

function markOf(name: string, digest: string): string {
  return sha256Bytes(`${name} ${digest}`).toString('hex').slice(0, 16);
}

/** The ChainID of the uppermost layer, if the record is ours or names an image of ours. */
export function topLayerOf({ labels, target }: ImageRecord): ChainID | undefined {
  const [digest, top] = labels.get(LAYER)?.split(' ') ?? [];
  return digest === target?.digest ? asChainID(top) : undefined;
}

/**
 * The name that an image of the user's waits for, if this is the record in which we have kept that image. `docker tag`
 * copies the label to other records.
 */
export function displacedNameOf(namespace: string, { name, labels, target }: ImageRecord): string | undefined {
  const waiting = labels.get(DISPLACED);
  return waiting !== undefined && name === nameWithoutTag(namespace, waiting, target?.digest ?? '')
    ? waiting
    : undefined;
}

/** The user's labels, for a record that keeps the user's image. */
export function displacedLabels({ name, labels }: ImageRecord): ReadonlyMap<string, string> {
  return new Map([...labels, [DISPLACED, name]]);
}

/** The labels of a record that has kept the user's image, without ours. */
export function givenBackLabels({ labels }: ImageRecord): ReadonlyMap<string, string> {
  return new Map([...labels].filter(([name]) => !name.startsWith('docker-preloader/')));
}
