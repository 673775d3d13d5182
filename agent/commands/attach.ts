import { readAttachedDisks, type AttachedDisk } from '../attach/attached-disk.ts';
import type { Attachment } from '../attach/attachment.ts';
import { credentialString, kernelWord, requiredOf } from '../attach/credentials.ts';
import { hypervisors, numbered } from '../attach/hypervisors.ts';
import { tellLine } from '../system/stderr.ts';
import type { Refuse } from './build-options.ts';

/** As the command line has them. */
export interface AttachArguments {
  readonly for: string;
  readonly required?: boolean;
  readonly digest?: boolean;
  readonly first?: string;
  readonly json?: boolean;
}

/** What `attach --json` prints. */
interface AttachDocument {
  readonly for: string;
  readonly disks: readonly AttachedDisk[];
  /** What the guest is told, in both ways that there are; null where it is told nothing. */
  readonly required: { readonly value: string; readonly oemString: string; readonly kernelWord: string } | null;
  /** The words of the text, where it is arguments of a program. */
  readonly arguments: readonly string[] | null;
  readonly text: string;
  readonly notes: readonly string[];
  readonly problems: readonly string[];
}

/** What the guests look for without a configuration. */
const BY_DEFAULT = /^dpl-/;
const LAST_PLACE = 999;

/**
 * Prints what to type or paste, so that a machine has these disks.
 * @returns the exit status: 3 if a guest would leave out something
 */
export async function attach(paths: readonly string[], options: AttachArguments, refuse: Refuse): Promise<number> {
  const make = hypervisors[options.for];
  if (make === undefined)
    return refuse(`--for: expected one of ${Object.keys(hypervisors).join(', ')}, found '${options.for}'`);
  if (options.first !== undefined && !numbered.includes(options.for))
    return refuse(`--first: expected --for ${numbered.join(' or ')}, found --for ${options.for}`);
  const first = options.first ?? '1';
  if (!/^\d{1,3}$/.test(first)) return refuse(`--first: expected a number up to ${LAST_PLACE}, found '${first}'`);
  const { disks, problems } = await readAttachedDisks(paths);
  const required =
    options.required === true || options.digest === true ? requiredOf(disks, options.digest === true) : undefined;
  const made = make({ disks, required, first: Number(first) });
  const notes = [...made.notes, ...(required === undefined ? unnamedNotes(disks) : [])];
  if (options.json === true) print({ ...made, notes }, options.for, disks, required, problems);
  else {
    process.stdout.write(made.text);
    for (const line of [...problems, ...notes]) tellLine(`docker-preloader: ${line}`);
  }
  return problems.length === 0 ? 0 : 3;
}

function print(
  made: Attachment,
  hypervisor: string,
  disks: readonly AttachedDisk[],
  required: string | undefined,
  problems: readonly string[],
): void {
  const document: AttachDocument = {
    for: hypervisor,
    disks,
    required:
      required === undefined
        ? null
        : { value: required, oemString: credentialString(required), kernelWord: kernelWord(required) },
    arguments: made.arguments ?? null,
    text: made.text,
    notes: made.notes,
    problems,
  };
  process.stdout.write(`${JSON.stringify(document, undefined, 2)}\n`);
}

/** A guest that is told nothing looks for dpl-* alone. */
function unnamedNotes(disks: readonly AttachedDisk[]): string[] {
  return disks
    .filter(({ label }) => !BY_DEFAULT.test(label))
    .map(
      ({ label }) =>
        `${label} does not begin with dpl-: a guest takes it only where its \`labels\` or \`required\` say so, as --required makes it`,
    );
}
