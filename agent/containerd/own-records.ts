import type { ImageID } from '../docker/ids.ts';
import { danglingName, KUBERNETES } from './record-names.ts';
import type { Targets } from './containerd-ledger.ts';
import { isOwnImage } from './own-labels.ts';
import type { Present } from './namespace-present.ts';
import type { ImageRecord } from './api/services.ts';

/**
 * The records that are ours, by name: those that are marked so, and in Kubernetes' namespace those of which a pull has
 * taken the mark. Under the policy `Always` kubelet pulls an image at each start of a container, and containerd writes the
 * record that was asked for anew (containerd, client/pull.go, createNewImage), though nothing is copied: the layers are
 * links as before. Were it the user's from then on, it would be listed when its disk is gone, so that no kubelet pulled it.
 *
 * Where the user moves or removes a tag, and gives it to the disk's image again, `docker tag` copies the mark with all labels,
 * from another tag that it was copied to. The time alone tells such a record.
 * @param left what we left there, by the ledger @param made when, as `madeAt` has it
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

/** dockerd copies labels to the name of what has lost its last tag, too. */
function isNewer(record: ImageRecord, made: ReadonlyMap<string, string>): boolean {
  const before = made.get(record.name);
  return before !== undefined && madeAt(record) > before && record.name !== danglingName(targetOf(record));
}

/** When a record was made; later ones sort later. */
export function madeAt({ createdAt }: ImageRecord): string {
  return `${String(createdAt?.seconds ?? 0).padStart(12, '0')}.${String(createdAt?.nanos ?? 0).padStart(9, '0')}`;
}

/** Whether a record is as it was: nobody has made it anew, or written it again. */
export function isSameRecord(now: ImageRecord, before: ImageRecord): boolean {
  return targetOf(now) === targetOf(before) && timesOf(now) === timesOf(before);
}

function timesOf({ createdAt, updatedAt }: ImageRecord): string {
  return [createdAt, updatedAt].map((time) => `${time?.seconds}.${time?.nanos}`).join(' ');
}

/** What a record names: dockerd calls an image by that, where it has its images in containerd. */
export function targetOf({ target }: ImageRecord): ImageID {
  return (target?.digest ?? '') as ImageID;
}
