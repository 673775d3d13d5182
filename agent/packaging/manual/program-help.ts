import type { Argument, Command, Option } from 'commander';
import { createProgram } from '../../commands/program.ts';

/** How a value on the command line is completed: as a file, from a list, or not at all. */
export type ValueKind =
  | { readonly kind: 'none' }
  | { readonly kind: 'file' }
  | { readonly kind: 'choice'; readonly choices: readonly string[] }
  | { readonly kind: 'other' };

export interface OptionHelp {
  /** `-o, --output <disk>` */
  readonly term: string;
  readonly short: string | undefined;
  readonly long: string;
  readonly value: ValueKind;
  readonly description: string;
}

export interface CommandHelp {
  readonly name: string;
  /** `docker-preloader build [options] <archive...>` */
  readonly usage: string;
  readonly description: string;
  readonly options: readonly OptionHelp[];
  /** The argument that needs no option before it; undefined if there is none. */
  readonly argument: ValueKind | undefined;
  readonly examples: readonly string[];
}

export interface ProgramHelp {
  readonly name: string;
  readonly description: string;
  readonly options: readonly OptionHelp[];
  readonly commands: readonly CommandHelp[];
}

/** The names in `<…>` of values that are files. */
const FILES = new Set(['file', 'disk', 'dir', 'archive']);

/**
 * Everything that `--help` says, taken from the commander program itself. Man pages and completions are made from it.
 */
export function programHelp(program: Command = createProgram(() => undefined)): ProgramHelp {
  return {
    name: program.name(),
    description: program.description(),
    options: optionsOf(program),
    commands: program.commands.map((command) => ({
      name: command.name(),
      usage: command.createHelp().commandUsage(command),
      description: command.description(),
      options: optionsOf(command),
      argument: argumentOf(command.registeredArguments[0]),
      examples: examplesOf(command),
    })),
  };
}

function optionsOf(command: Command): OptionHelp[] {
  const help = command.createHelp();
  return help.visibleOptions(command).map((option) => ({
    term: help.optionTerm(option),
    short: option.short,
    long: option.long ?? option.flags,
    value: valueOf(option),
    description: help.optionDescription(option),
  }));
}

function valueOf(option: Option): ValueKind {
  if (option.argChoices !== undefined) return { kind: 'choice', choices: option.argChoices };
  const name = /[<[]([^>\].]+)/.exec(option.flags)?.[1];
  if (name === undefined) return { kind: 'none' };
  return FILES.has(name) ? { kind: 'file' } : { kind: 'other' };
}

function argumentOf(argument: Argument | undefined): ValueKind | undefined {
  if (argument === undefined) return undefined;
  return FILES.has(argument.name()) ? { kind: 'file' } : { kind: 'other' };
}

/** The examples in the text after the help. */
function examplesOf(command: Command): string[] {
  let text = '';
  command.configureOutput({ writeOut: (piece) => void (text += piece) });
  command.outputHelp();
  const examples = /\nExamples:\n(.*?)\n\n/s
    .exec(text)?.[1]
    ?.split('\n')
    .map((line) => line.trim());
  if (examples === undefined) throw new Error(`Expected examples in the help of ${command.name()}, found none`);
  return examples;
}
