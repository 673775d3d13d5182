import { messageOf } from './errors.ts';
import { poll, POLLERR, POLLHUP } from './poll.ts';
import { tellLine } from './stderr.ts';

const STDOUT = 1;

interface ExitStatuses {
  /** The reader has seen enough. */
  readonly gone: number;
  /** The output could not be written. */
  readonly failed: number;
}

const usual: ExitStatuses = { gone: 0, failed: 1 };
let exits = usual;
let isFollowed = false;

/**
 * Ends quietly when the reader of our output has seen enough, as with `| head`, where a program in C would get SIGPIPE.
 * If the output cannot be written, ends with a line that says so. Where it is called again, the last call counts.
 */
export function endWithReader(statuses = usual): void {
  exits = statuses;
  if (isFollowed) return;
  isFollowed = true;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(exits.gone);
    tellLine(`docker-preloader: standard output could not be written: ${messageOf(error)}`);
    process.exit(exits.failed);
  });
}

/** Whether anybody still reads our output, which a program that has nothing to write would not notice. */
export function hasReader(): boolean {
  return (poll(STDOUT, 0) & (POLLERR | POLLHUP)) === 0;
}
