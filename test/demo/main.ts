import { parseArgs } from 'node:util';
import { leavingNothing } from './interruption.ts';
import { prepare } from './preparation.ts';

const help = `Shows docker-preloader at work, on real disks, a real dockerd and real images.

Usage: npm start -- [--vm] [--no-install]

  --vm           in a virtual machine under QEMU with two qcow2 disks, instead of a private dockerd
                 and loop devices on this machine (minutes instead of seconds where there is no KVM)
  --no-install   install no Debian packages; name those that are missing
  --help         this text

It makes two images with a common base layer and a disk of each, attaches the disks, runs the agent as the daemon that
it is, and starts dockerd on the result. It takes root, and Debian packages, which it lists before it installs them.
Every command that it runs is printed. What it makes is private and gone afterwards, also after Ctrl-C, but for what is
downloaded or made once (\${DOCKER_PRELOADER_CACHE:-~/.cache/docker-preloader}) and installed packages. The machine's own
Docker is not touched.

Exit status: 0 done, 1 failed, 2 wrong usage
`;

interface Options {
  readonly vm: boolean;
  readonly install: boolean;
}

const options = readOptions();
const start = performance.now();
try {
  await prepare(options);
  const demo = options.vm
    ? (await import('./in-a-vm.ts')).demoInVirtualMachine
    : (await import('./on-this-machine.ts')).demoOnThisMachine;
  await leavingNothing(demo);
  console.log(`\nAll of it is gone again. The whole took ${((performance.now() - start) / 1000).toFixed(0)} s.`);
} catch (error) {
  report(error);
  process.exit(1);
}

function readOptions(): Options {
  try {
    const { values } = parseArgs({
      options: { vm: { type: 'boolean' }, 'no-install': { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    });
    if (values.help === true) {
      process.stdout.write(help);
      process.exit(0);
    }
    return { vm: values.vm === true, install: values['no-install'] !== true };
  } catch (error) {
    process.stderr.write(
      `docker-preloader demo: ${(error as Error).message.split('. ')[0] ?? ''}; \`npm start -- --help\` tells what there is\n`,
    );
    process.exit(2);
  }
}

/** One line of what failed and what to do, below what the failed part said in more lines. */
function report(error: unknown): void {
  const [what = '', ...detail] = (error instanceof Error ? error.message : String(error)).trim().split('\n');
  if (detail.length > 0) process.stderr.write(`${detail.map((line) => `  ${line}`).join('\n')}\n`);
  const cause =
    error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message.split('\n')[0] ?? ''})` : '';
  process.stderr.write(
    `docker-preloader demo: failed: ${what.replace(/[.:]$/, '')}${cause}. Correct that and run it again; nothing of this run is left\n`,
  );
}
