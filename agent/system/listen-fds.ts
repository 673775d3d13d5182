import { environment } from './environment.ts';
import { poll, POLLIN } from './poll.ts';

/** The first file descriptor that systemd passes (sd_listen_fds(3), SD_LISTEN_FDS_START). */
const FIRST_FD = 3;

/**
 * The listening socket that the service manager handed to this process, or undefined without socket activation.
 * LISTEN_PID protects against variables that were inherited by mistake.
 */
export function listenFd(): number | undefined {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = environment();
  return pid === String(process.pid) && Number(count) >= 1 ? FIRST_FD : undefined;
}

/** Whether a client has connected to a listening socket and waits to be accepted. */
export function hasWaitingClient(fd: number): boolean {
  return (poll(fd, POLLIN) & POLLIN) !== 0;
}
