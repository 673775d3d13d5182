import { cString, systemCall } from './libc.ts';

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_NOSIGNAL = 0x4000;
const SUN_PATH_MAX = 108;

/**
 * Sends one datagram to a unix socket, which neither Node nor Bun can do. A leading `@` means Linux's abstract
 * namespace (unix(7)).
 * @throws a system error, or RangeError for a path that does not fit into sockaddr_un
 */
export function sendDatagram(path: string, message: Buffer): void {
  const name = path.startsWith('@') ? Buffer.from(`\0${path.slice(1)}`) : cString(path);
  if (name.length > SUN_PATH_MAX)
    throw new RangeError(`expected a socket path of at most ${SUN_PATH_MAX} bytes, found ${name.length}`);
  const address = Buffer.alloc(2 + name.length);
  address.writeUInt16LE(AF_UNIX, 0);
  name.copy(address, 2);
  const fd = systemCall('socket', AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  try {
    systemCall('sendto', fd, message, message.length, MSG_NOSIGNAL, address, address.length);
  } finally {
    systemCall('close', fd);
  }
}
