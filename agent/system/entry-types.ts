import { closeSync, constants, openSync } from 'node:fs';
import { systemCall } from './libc.ts';

/** struct linux_dirent64 (getdents64(2)): where an entry has its length and its type. */
const DIRENT = { length: 16, type: 18 } as const;
const DT_UNKNOWN = 0;

/**
 * Whether the filesystem of a folder tells of each entry what it is, without the file being asked for. Node asks the file
 * where it does not, so its calls do not tell.
 * @throws system errors
 */
export function hasEntryTypes(path: string): boolean {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const entries = Buffer.alloc(4096);
    // One piece tells: it is a property of the whole filesystem, and there are `.` and `..` in it.
    const length = systemCall('getdirentries64', fd, entries, entries.length, Buffer.alloc(8));
    for (let at = 0; at < length; at += entries.readUInt16LE(at + DIRENT.length)) {
      if (entries[at + DIRENT.type] === DT_UNKNOWN) return false;
    }
    return true;
  } finally {
    closeSync(fd);
  }
}
