import { InvalidArgumentError, Option } from 'commander';
import { DEFAULT_CONFIG_PATH } from '../config/config.ts';
import type { ApplyOptions } from './apply.ts';
import type { BootOrderOptions } from './boot-order.ts';
import type { AddCommands, MakeCommand } from './command-line.ts';
import { APPLY_TIMEOUT_SEC } from './direct.ts';

/** What is done in a guest. All of it reads a configuration. */
export const addGuestCommands: AddCommands = (make, finish) => {
  const command: MakeCommand = (name, description, example) =>
    make(name, description, example).option(
      '--config <file>',
      `configuration file, in place of all others (default: ${DEFAULT_CONFIG_PATH} and its kin, see docker-preloader-config(5); all defaults if there is none)`,
    );

  command(
    'run',
    'The daemon that the unit starts: fills the store, reports READY=1, then serves the status.',
    '  systemctl enable --now docker-preloader',
  ).action(async (options: { config?: string }) => (await import('./run.ts')).run(options.config));
  command(
    'apply',
    'Fills the store once, without a daemon.',
    '  docker-preloader apply\n  docker-preloader apply --config /etc/docker-preloader/test.json',
  )
    .option(
      '--degraded-ok',
      'exit status 0 instead of 3 if something was left out, so that docker.service still starts',
    )
    .addOption(
      new Option('--only <store>', 'of the stores that are to be filled, this one alone').choices([
        'overlay2',
        'containerd',
      ]),
    )
    .option(
      '--timeout <seconds>',
      'how long it may take after the wait for devices; then it is stopped, and what was in the store before is still there',
      wholeSeconds,
      APPLY_TIMEOUT_SEC,
    )
    .action(async (options: ApplyOptions) => finish(await (await import('./apply.ts')).applyOnce(options)));
  command(
    'config',
    'Prints the configuration that holds, and where each value comes from.',
    '  docker-preloader config\n  docker-preloader config --json | jq .labels.value',
  )
    .option('--json', 'as JSON, for programs')
    .action(async (options: { config?: string; json?: boolean }) => (await import('./config.ts')).printConfig(options));
  command(
    'plan',
    'Prints what run would do now, and changes nothing.',
    '  docker-preloader plan\n  docker-preloader plan --json',
  )
    .option('--json', 'as JSON, for programs')
    .action(async (options: { config?: string; json?: boolean }) =>
      finish(await (await import('./plan.ts')).printPlan(options)),
    );
  command(
    'verify',
    'Compares the store with the disks, and the disks with their manifests; only reads, so dockerd may be running.',
    '  docker-preloader verify\n  docker-preloader verify --deep\n  docker-preloader verify --json | jq -r ".findings[].message"',
  )
    .option(
      '--deep',
      'also compare the content of every layer and blob with its digest, which reads the disks completely',
    )
    .option('--json', 'as JSON, for programs')
    .action(async (options: { config?: string; deep?: boolean; json?: boolean }) =>
      finish(await (await import('./verify.ts')).verify(options)),
    );
  command(
    'unlink',
    "Removes everything preloaded from the stores, except what the user's own images and containers need; for overlay2, dockerd must be stopped, for containerd's, containerd must run.",
    '  systemctl stop docker.socket docker && docker-preloader unlink',
  ).action(async (options: { config?: string }) => finish(await (await import('./unlink.ts')).unlink(options)));
  command(
    'status',
    'Asks the daemon for its status.',
    '  docker-preloader status\n  docker-preloader status --json | jq .state',
  )
    .option('--json', 'as JSON, for programs')
    .option('--watch', 'print it again whenever it changes')
    .action(async (options: { config?: string; json?: boolean; watch?: boolean }) =>
      finish(await (await import('./status.ts')).printStatus(options)),
    );
  const order = command(
    'boot-order [file]',
    'Shows when each step and unit of this boot started and ended, and what waited for what; with a file that --json printed (- for standard input), in that boot.',
    '  docker-preloader boot-order\n  docker-preloader boot-order --check\n  docker-preloader boot-order --svg boot.svg\n  docker-preloader boot-order --json > boot.json; docker-preloader boot-order boot.json',
  )
    .option('--json', 'everything as JSON, for programs and for bug reports')
    .option(
      '--check',
      'only check the order: exit status 1 and a line for each fault, with the command that repairs it; 2 if there is none, but not everything could be checked',
    )
    .option('--svg <file>', 'write a boot chart, or - for standard output')
    .action(async (file: string | undefined, options: BootOrderOptions) => {
      if (options.svg === '-' && options.json === true)
        order.error('error: --svg: expected a file beside --json, found -: both go to standard output');
      finish(await (await import('./boot-order.ts')).bootOrder(file, options));
    });
  command(
    'record',
    "Prints which parts of the disks' layers are in memory now, as a list for build --read-ahead.",
    '  docker-preloader record > app.read-ahead.json\n  docker-preloader build app.tar -o app.qcow2 --read-ahead app.read-ahead.json',
  ).action(async (options: { config?: string }) => finish(await (await import('./record.ts')).record(options)));
};

function wholeSeconds(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('Expected a whole number of seconds, 1 or more.');
  return Number(text);
}
