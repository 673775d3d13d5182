import { runCommands } from '../../commands/command-line.ts';
import { addDiskCommands } from '../../commands/disk-commands.ts';
import { messageOf } from '../../system/errors.ts';
import { tellLine } from '../../system/stderr.ts';

/** The side of the build machine alone: makes disks, looks into them, and tells hypervisors of them. */
runCommands([addDiskCommands]).then(
  (exitStatus) => {
    process.exitCode = exitStatus ?? 0;
  },
  (error: unknown) => {
    process.exitCode = 1;
    tellLine(`docker-preloader: ${messageOf(error)}`);
  },
);
