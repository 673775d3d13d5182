import { codes, type Code, type Effect } from './codes.ts';

/**
 * Something that the user should know: what was left out or is in conflict, and why, in one line. By its other fields,
 * journal entries and the status can be searched.
 */
export interface Finding {
  readonly code: Code;
  readonly message: string;
  readonly label?: string;
  readonly device?: string;
  readonly image?: string;
  readonly conflict?: TagConflict;
}

/** Who claims a tag, and who has it. */
interface TagConflict {
  /** The labels of the disks. */
  readonly disks: readonly string[];
  readonly user: boolean;
  /** The label of the disk that has it, or null if the user has it. */
  readonly winner: string | null;
}

/** How a finding affects the result. */
export function effectOf(finding: Finding): Effect {
  return codes[finding.code].effect;
}
