import type { ImageID } from '../docker/ids.ts';
import { danglingName, KUBERNETES } from './record-names.ts';
import type { Targets } from './containerd-ledger.ts';
import { isOwnImage } from './own-labels.ts';
import type { Present } from './namespace-present.ts';
import type { ImageRecord } from './api/services.ts';

/**
 * The records that are ours, by name. They have our mark. In Kubernetes' namespace, so are those from which a pull has
 * taken the mark. Under the policy `Always`, kubelet pulls an image at each start of a container. containerd then
 * writes the record that was asked for anew (containerd, client/pull.go, createNewImage), although nothing is copied
 * and the layers are links as before. If the record was the user's from then on, it would still be listed when its disk
 * is gone, and kubelet would not pull the image.
 *
 * The user may move or remove a tag, and later give it to the disk's image again. Then `docker tag` copies our mark
 * with all labels, from another tag to which it was copied before. Only the time tells such a record from ours.
 * @param left what we left there, by the ledger
 * @param made when we made it, as `madeAt` has it
 */
export function ownRecords(
  { namespace, images }: Present,
  left: Targets,
  made: ReadonlyMap<string, string>,
): ReadonlyMap<string, ImageRecord> {
  const all = [...images.values()];
  const marked = all.filter((record) => isOwnImage(namespace, record) && !isNewer(record, made));
  const digests = new Set(marked.map(targetOf));
  const unmarked = all.filter(
    (record) => namespace === KUBERNETES && left.get(record.name) === targetOf(record) && digests.has(targetOf(record)),
  );
  return new Map([...unmarked, ...marked].map((record) => [record.name, record]));
}

/**
 * Whether the user has made a record since. dockerd also copies labels to the name that it gives an image without tags.
 */
function isNewer(record: ImageRecord, made: ReadonlyMap<string, string>): boolean {
  const before = made.get(record.name);
  return before !== undefined && madeAt(record) > before && record.name !== danglingName(targetOf(record));
}

/** When a record was made, as a text. Later times sort later. */
export function madeAt({ createdAt }: ImageRecord): string {
  return `${String(createdAt?.seconds ?? 0).padStart(12, '0')}.${String(createdAt?.nanos ?? 0).padStart(9, '0')}`;
}

/** Whether a record is as it was, so that nobody has made it anew or written it again. */
export function isSameRecord(now: ImageRecord, before: ImageRecord): boolean {
  return targetOf(now) === targetOf(before) && timesOf(now) === timesOf(before);
}

function timesOf({ createdAt, updatedAt }: ImageRecord): string {
  return [createdAt, updatedAt].map((time) => `${time?.seconds}.${time?.nanos}`).join(' ');
}

/** What a record names. dockerd calls an image by that if it has its images in containerd. */
export function targetOf({ target }: ImageRecord): ImageID {
  return (target?.digest ?? '') as ImageID;
}
