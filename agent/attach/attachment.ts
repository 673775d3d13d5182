import type { AttachedDisk } from './attached-disk.ts';

/** What is to be attached, and what the guest is to be told. */
interface Wanted {
  readonly disks: readonly AttachedDisk[];
  /** The value of the guest's `required`, if it is to have one. */
  readonly required: string | undefined;
  /** The first place on the bus that is free; the root disk has 0. */
  readonly first: number;
}

/** What to type or paste for one hypervisor. */
export interface Attachment {
  /** Lines, with a newline at their end. */
  readonly text: string;
  /** Its words, where these are arguments of a program. */
  readonly arguments?: readonly string[];
  /** What else there is to know, a sentence each. */
  readonly notes: readonly string[];
}

/** Makes that for one hypervisor. @throws PreloaderError DISK_INVALID where the hypervisor cannot take a disk */
export type Attach = (wanted: Wanted) => Attachment;
