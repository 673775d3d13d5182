import { sendDatagram } from './datagram.ts';

/**
 * Tells the service manager of our state, as sd_notify(3) does: `READY=1`, `STATUS=…`, `EXTEND_TIMEOUT_USEC=…`.
 * Without NOTIFY_SOCKET it does nothing. A failure to send is no failure of ours: the manager's time limit then speaks.
 * Only this process' datagrams count (NotifyAccess=main), so it is sent from here and not by a child.
 */
export function notify(...assignments: readonly string[]): void {
  const path = process.env['NOTIFY_SOCKET'];
  if (path === undefined || path === '') return;
  try {
    sendDatagram(path, Buffer.from(assignments.join('\n')));
  } catch {
    // See above: ignoring.
  }
}

/** A status line for `systemctl status`, in one line. */
export function notifyStatus(status: string): void {
  notify(`STATUS=${status.replaceAll('\n', ' ')}`);
}
