import { closeSync, constants, openSync } from 'node:fs';
import { systemCall } from './libc.ts';

/** struct linux_dirent64 (getdents64(2)): the offsets of an entry's length and type. */
const DIRENT = { length: 16, type: 18 } as const;
const DT_UNKNOWN = 0;

/**
 * Whether the filesystem of a folder gives the type of each entry when the folder is read. Node's functions do not show
 * that, because Node looks at the file itself if the type is missing.
 * @throws system errors
 */
export function hasEntryTypes(path: string): boolean {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const entries = Buffer.alloc(4096);
    // One piece is enough: the types are a property of the whole filesystem, and every folder has `.` and `..`.
    const length = systemCall('getdirentries64', fd, entries, entries.length, Buffer.alloc(8));
    for (let at = 0; at < length; at += entries.readUInt16LE(at + DIRENT.length)) {
      if (entries[at + DIRENT.type] === DT_UNKNOWN) return false;
    }
    return true;
  } finally {
    closeSync(fd);
  }
}
