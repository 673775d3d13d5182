import type { Command } from 'commander';
import { commandLine, runCommands, type Finish } from './command-line.ts';
import { addDiskCommands } from './disk-commands.ts';
import { addGuestCommands } from './guest-commands.ts';

const kinds = [addGuestCommands, addDiskCommands];

/** The command line, with all commands. */
export function createProgram(finish: Finish): Command {
  return commandLine(kinds, finish);
}

/** Runs it. @returns the exit status, or undefined for a daemon that stays */
export async function runCommandLine(): Promise<number | undefined> {
  return runCommands(kinds);
}
