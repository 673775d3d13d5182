import { runCommands } from '../../commands/command-line.ts';
import { addDiskCommands } from '../../commands/disk-commands.ts';
import { messageOf } from '../../system/errors.ts';
import { tellLine } from '../../system/stderr.ts';

/** What only the executable has. Their code is not here, so they are told from words that are none at all. */
const ofTheGuest: readonly (string | undefined)[] = [
  'run',
  'apply',
  'unlink',
  'plan',
  'status',
  'boot-order',
  'verify',
  'record',
  'config',
];

/** The side of the build machine alone: makes disks, looks into them, and tells hypervisors of them. */
async function main(): Promise<number> {
  const word = process.argv[2];
  if (!ofTheGuest.includes(word)) return (await runCommands([addDiskCommands])) ?? 0;
  tellLine(
    `docker-preloader: expected a command of the build machine, found '${word}', which is for guests: install the .deb or the tarball there; docker-preloader --help tells more`,
  );
  return 2;
}

main().then(
  (exitStatus) => {
    process.exitCode = exitStatus;
  },
  (error: unknown) => {
    process.exitCode = 1;
    tellLine(`docker-preloader: ${messageOf(error)}`);
  },
);
