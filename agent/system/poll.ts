import { systemCall } from './libc.ts';

/**
 * Of poll.h. Error and hang-up are told whether or not they were asked for; of what is written to, they mean that nobody
 * reads: the error of a pipe, the hang-up of a socket or a terminal.
 */
export const POLLIN = 1;
export const POLLERR = 8;
export const POLLHUP = 16;

/** What poll(2) says of a file descriptor now, without waiting, in the bits of poll.h. @throws system errors */
export function poll(fd: number, events: number): number {
  // struct pollfd: the descriptor, and 16 bits each of what is asked for and of what is there.
  const entry = Buffer.alloc(8);
  entry.writeInt32LE(fd, 0);
  entry.writeInt16LE(events, 4);
  systemCall('poll', entry, 1, 0);
  return entry.readInt16LE(6);
}
