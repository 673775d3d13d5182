import { sendDatagram } from './datagram.ts';
import { environment } from './environment.ts';

/**
 * Tells the service manager our state, as sd_notify(3) does: `READY=1`, `STATUS=…`, `EXTEND_TIMEOUT_USEC=…`. Without
 * NOTIFY_SOCKET it does nothing. A failure to send is ignored: the manager's time limit applies then. Only datagrams of
 * this process count (NotifyAccess=main), so they are not sent by a child.
 */
export function notify(...assignments: readonly string[]): void {
  const path = environment()['NOTIFY_SOCKET'];
  if (path === undefined || path === '') return;
  try {
    sendDatagram(path, Buffer.from(assignments.join('\n')));
  } catch {
    // Ignored, see above.
  }
}

/** Sets the status in `systemctl status`, in one line. */
export function notifyStatus(status: string): void {
  notify(`STATUS=${status.replaceAll('\n', ' ')}`);
}
