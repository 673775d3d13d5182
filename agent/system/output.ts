/** Ends in peace when the reader of our output has seen enough, as with `| head`, where a program in C would get SIGPIPE. */
export function endWithReader(exitStatus: number): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(exitStatus);
  });
}
