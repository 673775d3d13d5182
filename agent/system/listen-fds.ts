import { systemCall } from './libc.ts';

/** The first file descriptor that systemd passes (sd_listen_fds(3), SD_LISTEN_FDS_START). */
const FIRST_FD = 3;
const POLLIN = 1;

/**
 * The listening socket that the service manager handed to this process, or undefined without socket activation.
 * LISTEN_PID guards against variables that were inherited by mistake.
 */
export function listenFd(): number | undefined {
  const { LISTEN_PID: pid, LISTEN_FDS: count } = process.env;
  return pid === String(process.pid) && Number(count) >= 1 ? FIRST_FD : undefined;
}

/** Whether somebody has connected to a listening socket and waits to be accepted: poll(2) without waiting. */
export function hasWaitingClient(fd: number): boolean {
  // struct pollfd: the descriptor, and 16 bits each of what is asked for and of what is there.
  const entry = Buffer.alloc(8);
  entry.writeInt32LE(fd, 0);
  entry.writeInt16LE(POLLIN, 4);
  return systemCall('poll', entry, 1, 0) > 0;
}
