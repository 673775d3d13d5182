import { Command, CommanderError, InvalidArgumentError, Option, type OutputConfiguration } from 'commander';
import { DEFAULT_CONFIG_PATH } from '../config/config.ts';
import { FORMAT_VERSION } from '../disk/manifest.ts';
import { stderr, tellLine } from '../system/stderr.ts';
import { endWithReader } from '../system/stdout-reader.ts';
import { oneLine } from '../text/one-line.ts';
import { VERSION } from '../version.ts';
import type { ApplyOptions } from './apply.ts';
import type { BootOrderOptions } from './boot-order.ts';
import type { BuildArguments } from './build-options.ts';
import { APPLY_TIMEOUT_SEC } from './direct.ts';

/** Sets the exit status of a command. */
type Finish = (exitStatus: number) => void;

/** The command line: names, options, help. The code of a command is loaded only when it is called. */
export function createProgram(finish: Finish): Command {
  const program = new Command('docker-preloader')
    .description(
      'Makes the images of attached preload disks part of the store of dockerd, or of containerd, before Docker starts.',
    )
    .version(`docker-preloader ${VERSION} (disk format ${FORMAT_VERSION})`, '-V, --version')
    .exitOverride()
    .configureOutput(refusing('docker-preloader'));
  const plain = (name: string, description: string, example: string): Command =>
    program
      .command(name)
      .description(description)
      .allowExcessArguments(false)
      .exitOverride()
      .configureOutput(refusing(`docker-preloader ${name.split(' ')[0] ?? ''}`))
      .addHelpText(
        'after',
        `\nExamples:\n${example}\n\nExit status: 0 done, 1 failed, 2 wrong usage or configuration, 3 done but degraded`,
      );

  /** All but those of disks read a configuration. */
  const command = (name: string, description: string, example: string): Command =>
    plain(name, description, example).option(
      '--config <file>',
      `configuration file (default: ${DEFAULT_CONFIG_PATH}, all defaults if it does not exist)`,
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
    '  docker-preloader verify\n  docker-preloader verify --deep\n  docker-preloader verify --json | jq -r .findings[].message',
  )
    .option('--deep', 'also compare the content of every layer with its digest, which reads the disks completely')
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
  const build = plain(
    'build <archive...>',
    'Makes a preload disk from image archives, without a daemon, root or network. ARCHIVE=NAME:TAG names the image of an archive.',
    '  docker save app:1 db:2 | docker-preloader build - -o images.qcow2\n' +
      '  docker-preloader build app.tar layout=db:2 -o images.raw --label dpl-images\n' +
      '  docker-preloader build app.tar -o - | ssh HOST dd of=/dev/vdb bs=1M',
  )
    .option(
      '-o, --output <disk>',
      'the disk, or - for standard output (raw); an existing file is replaced when the disk is complete',
    )
    .addOption(
      new Option('--format <format>', 'by default raw for .raw, .img and -, otherwise qcow2').choices(['qcow2', 'raw']),
    )
    .addOption(new Option('--filesystem <filesystem>', 'on the disk').choices(['ext4', 'erofs']).default('ext4'))
    .addOption(
      new Option(
        '--blobs <which>',
        "layers as containerd's store has them, too: compressed ones as they are (by default; on erofs also tars, which share the files' data), all as tars, or none",
      ).choices(['keep', 'tar', 'none']),
    )
    .addOption(
      new Option(
        '--engine <engine>',
        'what unpacks the archives; docker is a private dockerd, which needs root; docker-vm is the same in a virtual machine, without root',
      )
        .choices(['built-in', 'docker', 'docker-vm'])
        .default('built-in'),
    )
    .option('--vm <dir>', "for docker-vm: a folder with the guest's kernel, initrd and root.ext4")
    .option('--size <bytes>', "the filesystem's size, also with K, M, G (default: as needed)")
    .option('--compress', 'compress the qcow2 with qemu-img')
    .option('--label <label>', "the filesystem's label (default: dpl- and 11 hex digits of the content's digest)")
    .option('--priority <number>', 'if two disks have the same tag, the one with the higher priority gets it', '0')
    .option('--tag <name:tag>', 'a name for the image that has none in its archive')
    .option('--platform <os/arch>', "which image of a multi-platform archive to take (default: this machine's)")
    .option(
      '--base <disk>',
      'leave out the layers that this disk has; repeatable',
      (disk: string, before: readonly string[]) => [...before, disk],
      [],
    )
    .option(
      '--read-ahead <list>',
      'a list that record printed; the files in it that are on this disk are read into memory right after boot',
    )
    .option('--dry-run', 'read everything and print what would be on the disk and its size, but write no disk')
    .option('--json', 'print what was made as JSON, for programs')
    .option('--quiet', 'no progress')
    .action(async (archives: string[], options: BuildArguments) =>
      finish(
        await (await import('./build.ts')).build(archives, options, (message) => build.error(`error: ${message}`)),
      ),
    );
  plain(
    'inspect <disk>',
    'Shows what is on a preload disk: a qcow2, raw image, block device or mounted folder; nothing is mounted.',
    '  docker-preloader inspect images.qcow2\n  docker-preloader inspect images.qcow2 --json | jq -r .images[].references[]',
  )
    .option('--json', 'as JSON, for programs')
    .option('--deep', 'also compare every layer with its digest')
    .action(async (disk: string, options: { json?: boolean; deep?: boolean }) =>
      finish(await (await import('./inspect.ts')).inspect(disk, options)),
    );
  program.hook('preAction', (_, called) => refuseOptionsAsValues(called));
  return program;
}

/** `-o --quiet` is a forgotten value, and no file of that name. Numbers may be negative. */
function refuseOptionsAsValues(called: Command): void {
  for (const [name, values] of Object.entries(called.opts()))
    for (const value of [values].flat())
      if (typeof value === 'string' && /^-\D/.test(value))
        called.error(
          `error: --${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}: expected a value, found the option '${value}': a file of that name is ./${value}`,
        );
}

/** Reports wrong usage in one line, with the command whose help says more. */
function refusing(usage: string): OutputConfiguration {
  const line = (text: string): string =>
    text
      .replace(/^error: /, '')
      .trim()
      .replaceAll(/\n(?=\(Did you mean)/g, ' ')
      .replace(/\.$/, '');
  return {
    writeErr: (text) => stderr.write(text),
    outputError: (text) => tellLine(`docker-preloader: ${line(text)}; ${usage} --help tells more`),
  };
}

function wholeSeconds(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new InvalidArgumentError('Expected a whole number of seconds, 1 or more.');
  return Number(text);
}

/**
 * Runs the command line.
 * @returns the exit status, or undefined for a daemon that stays: 0 for help and version, 2 for wrong usage
 */
export async function runCommandLine(): Promise<number | undefined> {
  endWithReader();
  let exitStatus: number | undefined;
  try {
    const [first, second] = process.argv.slice(2);
    const wrong = first === 'help' ? `unknown command '${second ?? ''}'` : 'expected a command, found none';
    // `-=NAME:TAG` is standard input with a name (build), and not an option.
    await createProgram((status) => {
      exitStatus = status;
    })
      .addHelpText('beforeAll', ({ error }) => (error ? `docker-preloader: ${oneLine(wrong)}\n` : ''))
      .parseAsync(process.argv.map((word) => (/^-[=:]/.test(word) ? `/dev/stdin${word.slice(1)}` : word)));
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? 0 : 2;
  }
  return exitStatus;
}
