import { directCommand } from './commands/direct.ts';
import { messageOf, PreloaderError } from './system/errors.ts';
import { isJournal, log } from './system/journal.ts';
import { tellLine } from './system/stderr.ts';

/** @returns the exit status; undefined for a daemon that stays */
async function main(): Promise<number | undefined> {
  const [command, path, ...more] = process.argv.slice(2);
  // Only the small executable calls these two.
  if (command === 'resume' && path !== undefined && more.length === 0) {
    await (await import('./daemon/resume.ts')).resume(path);
    return undefined;
  }
  if (command === 'answer' && path !== undefined && more[0] !== undefined && more.length === 1) {
    await (await import('./daemon/answer.ts')).answer(Number(path), Number(more[0]));
    return undefined;
  }
  const direct = directCommand(process.argv.slice(2));
  if (direct === undefined) return (await import('./commands/program.ts')).runCommandLine();
  if (direct.command === 'apply') return (await import('./commands/apply.ts')).applyOnce(direct);
  await (await import('./commands/run.ts')).run(direct.config);
  return undefined;
}

main().then(
  (exitStatus) => {
    if (exitStatus !== undefined) process.exitCode = exitStatus;
  },
  (error: unknown) => {
    process.exitCode = error instanceof PreloaderError && error.code === 'CONFIG_INVALID' ? 2 : 1;
    const message = `docker-preloader: ${messageOf(error)}`;
    if (isJournal()) log(error instanceof PreloaderError ? error.code : 'INTERNAL', message, {}, 'error');
    else tellLine(message);
  },
);
