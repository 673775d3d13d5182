import type { Code } from '../messages/codes.ts';
import { priorityOf, type EventName } from '../messages/events.ts';
import { isJournal, log, type Fields } from '../system/journal.ts';
import { megabytes } from '../text/megabytes.ts';
import { plural } from '../text/plural.ts';
import type { DiskStatus, StatusDocument } from './schema.ts';

/** One entry for the journal. */
export interface JournalEvent {
  readonly name: EventName;
  readonly message: string;
  readonly fields: Fields;
}

/**
 * The entries for what is new since the status before: disks that appeared, were mounted or disappeared, each finding,
 * what is pending, and last a summary in one line.
 */
export function eventsOf(status: StatusDocument, before?: StatusDocument): JournalEvent[] {
  const told = new Set((before?.findings ?? []).map((finding) => finding.message));
  return [
    ...diskEvents(status.disks, before?.disks ?? []),
    ...status.findings.filter((finding) => !told.has(finding.message)).map(findingEvent),
    ...pendingEvents(status, before),
    summaryEvent(status),
  ];
}

/** The entry of a finding, which can be searched by its fields. */
export function findingEvent({
  code,
  message,
  label,
  device,
  image,
}: StatusDocument['findings'][number]): JournalEvent {
  return { name: code as Code, message, fields: { LABEL: label, DEVICE: device, IMAGE: image } };
}

function diskEvents(disks: readonly DiskStatus[], before: readonly DiskStatus[]): JournalEvent[] {
  const key = ({ label, device }: DiskStatus): string => `${label} ${device ?? ''}`;
  const present = new Set(disks.filter((disk) => disk.device !== null).map(key));
  const known = new Map(before.map((disk) => [key(disk), disk]));
  const gone = before.filter((disk) => disk.device !== null && !present.has(key(disk)));
  return [
    ...gone.map((disk): JournalEvent => ({
      name: 'DISK_GONE',
      message: `disk ${disk.label} (${disk.device ?? ''}) is no longer there`,
      fields: fieldsOf(disk),
    })),
    ...disks.flatMap((disk) => newsOf(disk, known.get(key(disk)))),
  ];
}

function newsOf(disk: DiskStatus, before: DiskStatus | undefined): JournalEvent[] {
  const { label, device, mountPoint, layers, sharedLayers } = disk;
  const fields = fieldsOf(disk);
  const found: JournalEvent = {
    name: 'DISK_FOUND',
    message: `disk ${label}: found on ${device ?? ''}, ${disk.filesystem ?? ''}, ${megabytes(disk.sizeBytes ?? 0)}`,
    fields,
  };
  const events: JournalEvent[] = device === null || before !== undefined ? [] : [found];
  if (mountPoint !== null && (before?.mountPoint ?? null) === null) {
    const content = `${plural(disk.images, 'image')}, ${plural(layers, 'layer')}`;
    events.push(
      disk.adopted
        ? {
            name: 'DISK_ADOPTED',
            message: `disk ${label}: ${device ?? ''} was mounted on ${mountPoint} already and is used as it is: ${content}`,
            fields,
          }
        : {
            name: 'DISK_MOUNTED',
            message: `disk ${label}: ${device ?? ''} mounted read-only on ${mountPoint}: ${content}`,
            fields,
          },
    );
  }
  if (sharedLayers > 0 && sharedLayers !== before?.sharedLayers) {
    events.push({
      name: 'LAYERS_ADOPTED',
      message: `disk ${label}: ${sharedLayers} of ${plural(layers, 'layer')} used from where the user or another disk has them`,
      fields: { ...fields, LAYERS: sharedLayers },
    });
  }
  return events;
}

function fieldsOf({ label, device }: DiskStatus): Fields {
  return { LABEL: label, DEVICE: device ?? undefined };
}

/** While dockerd runs, a finding already says this. containerd is filled at any time, without a restart of Docker. */
function pendingEvents(
  { pending, findings, stores }: StatusDocument,
  before: StatusDocument | undefined,
): JournalEvent[] {
  if (
    pending.length === 0 ||
    findings.some((finding) => finding.code === 'DOCKER_RUNNING') ||
    before?.pending.join('\n') === pending.join('\n')
  )
    return [];
  const inContainerd = stores.every((store) => store.store === 'containerd' || store.pending === 0);
  const what = inContainerd
    ? 'to be made in containerd; run: docker-preloader apply'
    : "for Docker's next start; run: systemctl restart docker";
  return [
    {
      name: 'PENDING',
      message: `${plural(pending.length, 'change')} ${pending.length === 1 ? 'waits' : 'wait'} ${what}`,
      fields: { CHANGES: pending.length },
    },
  ];
}

const summaries = { ok: 'READY', empty: 'EMPTY', degraded: 'DEGRADED', failed: 'FAILED' } as const;

function summaryEvent({ state, summary, disks, images, changes, pending }: StatusDocument): JournalEvent {
  const used = disks.filter((disk) => disk.mountPoint !== null).length;
  return {
    name: summaries[state],
    message: summary,
    fields: { STATE: state, DISKS: used, IMAGES: images.length, CHANGES: changes, PENDING: pending.length },
  };
}

/** Sends entries to the journal. Elsewhere, for example on a terminal, only those that need attention are printed. */
export function logEvents(events: readonly JournalEvent[]): void {
  const journal = isJournal();
  for (const { name, message, fields } of events)
    if (journal || priorityOf(name) !== 'info') log(name, message, fields);
}
