import { CommanderError } from 'commander';
import { createProgram, exitStatusOf } from './commands/program.ts';
import { messageOf, PreloaderError } from './system/errors.ts';
import { isJournal, log } from './system/journal.ts';

const program = createProgram((exitStatus) => {
  process.exitCode = exitStatus;
});
program.parseAsync().catch((error: unknown) => {
  if (error instanceof CommanderError) {
    process.exitCode = exitStatusOf(error);
    return;
  }
  process.exitCode = error instanceof PreloaderError && error.code === 'CONFIG_INVALID' ? 2 : 1;
  const message = `docker-preloader: ${messageOf(error)}`;
  if (isJournal()) log(error instanceof PreloaderError ? error.code : 'INTERNAL', message, {}, 'error');
  else process.stderr.write(`${message}\n`);
});
