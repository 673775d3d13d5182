import type { Server } from 'node:net';
import { after } from '../system/clock.ts';
import { notify } from '../system/notify.ts';

/**
 * Ends the process successfully when nobody has asked for this long. The service manager keeps the socket, so the next
 * client starts it again, even one that connects while it is ending.
 * @param work what has to be finished first
 */
export function exitWhenIdle(server: Server, idleSec: number, work: Promise<void>): void {
  // The work counts as a client.
  let open = 1;
  let cancel: () => void = () => undefined;
  const wait = (): void => {
    cancel = after(idleSec * 1000, () => {
      notify('STOPPING=1', 'STATUS=idle: the next request for the status starts it again');
      process.exit(0);
    });
  };
  const close = (): void => {
    open -= 1;
    if (open === 0) wait();
  };
  server.on('connection', (socket) => {
    open += 1;
    cancel();
    socket.once('close', close);
  });
  void work.finally(close);
}
