import { messageOf } from './errors.ts';
import { poll, POLLERR, POLLHUP } from './poll.ts';
import { tellLine } from './stderr.ts';

const STDOUT = 1;

/**
 * Ends quietly when the reader of our output has seen enough, as with `| head`, where a program in C would get SIGPIPE.
 * If the output cannot be written, ends with a line that says so.
 */
export function endWithReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    tellLine(`docker-preloader: standard output could not be written: ${messageOf(error)}`);
    process.exit(1);
  });
}

/** Whether anybody still reads our output, which a program that has nothing to write would not notice. */
export function hasReader(): boolean {
  return (poll(STDOUT, 0) & (POLLERR | POLLHUP)) === 0;
}
