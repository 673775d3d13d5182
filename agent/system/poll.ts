import { systemCall } from './libc.ts';

/**
 * From poll.h. Error and hang-up are reported whether or not they were asked for. When writing, they mean that nobody
 * reads: a pipe reports an error, a socket or a terminal a hang-up.
 */
export const POLLIN = 1;
export const POLLERR = 8;
export const POLLHUP = 16;

/**
 * What poll(2) says about a file descriptor right now, without waiting, in the bits of poll.h.
 * @throws system errors
 */
export function poll(fd: number, events: number): number {
  // struct pollfd: the descriptor, then 16 bits for the requested events and 16 for those that occurred.
  const entry = Buffer.alloc(8);
  entry.writeInt32LE(fd, 0);
  entry.writeInt16LE(events, 4);
  systemCall('poll', entry, 1, 0);
  return entry.readInt16LE(6);
}
