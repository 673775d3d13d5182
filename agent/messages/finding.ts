import { codes, type Code, type Effect } from './codes.ts';

/**
 * Something that the user should know: what was left out or is in conflict, and why, in one line. It has the fields by
 * which a journal entry or the status can be searched.
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
  /** Labels of disks. */
  readonly disks: readonly string[];
  readonly user: boolean;
  /** The label of the disk that has it, or null where the user has. */
  readonly winner: string | null;
}

/** What a finding makes of the result. */
export function effectOf(finding: Finding): Effect {
  return codes[finding.code].effect;
}
