import { Command, CommanderError, type OutputConfiguration } from 'commander';
import { FORMAT_VERSION } from '../disk/manifest.ts';
import { stderr, tellLine } from '../system/stderr.ts';
import { endWithReader } from '../system/stdout-reader.ts';
import { oneLine } from '../text/one-line.ts';
import { VERSION } from '../version.ts';

/** Sets the exit status of a command. */
export type Finish = (exitStatus: number) => void;

/** Makes a command: its name, what it does, examples, and what its exit status means where that differs. */
export type MakeCommand = (name: string, description: string, example: string, exitStatus?: string) => Command;

const EXIT_STATUS = '0 done, 1 failed, 2 wrong usage or configuration, 3 done but degraded';

/** Adds commands of one kind to a command line. The code of a command is loaded only when it is called. */
export type AddCommands = (make: MakeCommand, finish: Finish) => void;

/** A command line: names, options, help. */
export function commandLine(kinds: readonly AddCommands[], finish: Finish): Command {
  const program = new Command('docker-preloader')
    .description(
      'Makes the images of attached preload disks part of the store of dockerd, or of containerd, before Docker starts.',
    )
    .version(`docker-preloader ${VERSION} (disk format ${FORMAT_VERSION})`, '-V, --version')
    .exitOverride()
    .configureOutput(refusing('docker-preloader'));
  const make: MakeCommand = (name, description, example, exitStatus = EXIT_STATUS) =>
    program
      .command(name)
      .description(description)
      .allowExcessArguments(false)
      .exitOverride()
      .configureOutput(refusing(`docker-preloader ${name.split(' ')[0] ?? ''}`))
      .addHelpText('after', `\nExamples:\n${example}\n\nExit status: ${exitStatus}`);

  for (const add of kinds) add(make, finish);
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

/**
 * Runs the command line.
 * @returns the exit status, or undefined for a daemon that stays: 0 for help and version, 2 for wrong usage
 */
export async function runCommands(kinds: readonly AddCommands[]): Promise<number | undefined> {
  endWithReader();
  let exitStatus: number | undefined;
  try {
    const [first, second] = process.argv.slice(2);
    const wrong = first === 'help' ? `unknown command '${second ?? ''}'` : 'expected a command, found none';
    // `-=NAME:TAG` is standard input with a name (build), and not an option.
    await commandLine(kinds, (status) => {
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
