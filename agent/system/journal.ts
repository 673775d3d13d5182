import { fstatSync } from 'node:fs';
import { unitOfProcess } from './cgroup.ts';
import { sendDatagram } from './datagram.ts';
import { environment } from './environment.ts';
import { messages, priorityOf, type EventName, type Priority } from '../messages/events.ts';
import { tellLine } from './stderr.ts';
import { oneLine } from '../text/one-line.ts';
import { withoutCredentials } from '../text/without-credentials.ts';

/** syslog(3) levels. */
const levels: Record<Priority, number> = { error: 3, warning: 4, notice: 5, info: 6 };

const JOURNAL_SOCKET = '/run/systemd/journal/socket';
/**
 * Larger datagrams may not fit the socket's buffer. journald takes them as a file, which our short entries never need.
 */
const MAX_ENTRY_BYTES = 64 * 1024;

/** Further fields of a journal entry, without the prefix that they get: `LABEL` becomes `PRELOADER_LABEL`. */
export type Fields = Readonly<Record<string, string | number | undefined>>;

/**
 * Logs one event in one line, with the MESSAGE_ID by which the catalog explains it. If stderr is connected to the
 * journal, it becomes a structured entry through journald's native socket (systemd's "Native Journal Protocol"). If
 * journald does not take it, it is a line on stderr with sd-daemon(3)'s `<n>` in front, and elsewhere a plain line.
 * Never spawns, never throws.
 */
export function log(
  name: EventName,
  message: string,
  fields: Fields = {},
  priority: Priority = priorityOf(name),
): void {
  const line = oneLine(withoutCredentials(message));
  const journal = isJournal();
  if (journal && sendEntry(name, line, fields, priority)) return;
  tellLine(journal ? `<${levels[priority]}>${line}` : line);
}

/**
 * Whether stderr goes to the journal. JOURNAL_STREAM names the device and inode of the stream that the service manager
 * gave us (systemd.exec(5)), and stderr may have been redirected since.
 */
export function isJournal(): boolean {
  const stream = environment()['JOURNAL_STREAM'];
  if (stream === undefined) return false;
  const { dev, ino } = fstatSync(2);
  return stream === `${dev}:${ino}`;
}

let ownUnit: string | undefined;

function sendEntry(name: EventName, message: string, fields: Fields, priority: Priority): boolean {
  const { id, file } = messages[name];
  const parts: Buffer[] = [
    field('MESSAGE', message),
    field('MESSAGE_ID', id),
    field('PRIORITY', String(levels[priority])),
    field('SYSLOG_IDENTIFIER', 'docker-preloader'),
    field('CODE_FILE', file),
    field('PRELOADER_CODE', name),
  ];
  // journald looks up the unit by our PID, and finds none once we have ended. With this field, which root may set,
  // `journalctl -u` shows the entry all the same.
  ownUnit ??= unitOfProcess('self');
  if (ownUnit !== '') parts.push(field('OBJECT_SYSTEMD_UNIT', ownUnit));
  for (const [key, value] of Object.entries(fields))
    if (value !== undefined) parts.push(field(`PRELOADER_${key}`, String(value)));
  try {
    sendDatagram(JOURNAL_SOCKET, Buffer.concat(parts).subarray(0, MAX_ENTRY_BYTES));
    return true;
  } catch {
    return false;
  }
}

/** A value with a newline is sent as name, newline, length (64 bits, little-endian), value, newline. */
function field(name: string, value: string): Buffer {
  if (!value.includes('\n')) return Buffer.from(`${name}=${value}\n`);
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, bytes, Buffer.from('\n')]);
}
