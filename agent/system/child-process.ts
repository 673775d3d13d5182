import {
  execFile,
  execFileSync,
  spawn,
  type ChildProcess,
  type ChildProcessWithoutNullStreams,
} from 'node:child_process';
import { constants } from 'node:os';

export type RunningProgram = ChildProcess;
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a program is run with. */
export interface RunOptions {
  /** `inherit` for our own standard input; otherwise it has none. */
  readonly stdin?: 'inherit' | undefined;
  /** After this time it is ended. */
  readonly timeoutMs?: number;
  /** After so much output it is ended. */
  readonly maxBytes?: number;
  /** The folder that it runs in; by default our own. */
  readonly cwd?: string;
  /** Variables beside those of our own environment; undefined takes one away. */
  readonly env?: Environment;
}

/** How a program has ended. */
export interface Ran {
  readonly stdout: string;
  readonly stderr: string;
  /** Undefined where it could not be started, or was ended. */
  readonly exitCode?: number | undefined;
  /** Whether it could not be started, was ended, or has failed. */
  readonly failed: boolean;
  readonly timedOut: boolean;
  readonly isMaxBuffer: boolean;
  /** The system's error, such as `ENOENT`, where it could not be started. */
  readonly code?: string | undefined;
  readonly cause?: unknown;
}

/** Runs a program to its end, whatever that is. */
export async function runProgram(program: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { execa } = await import('execa');
  const { stdin = 'ignore', timeoutMs, maxBytes, cwd, env } = options;
  return execa(program, args, {
    reject: false,
    stdin,
    ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }),
    ...(maxBytes === undefined ? {} : { maxBuffer: maxBytes }),
    ...(cwd === undefined ? {} : { cwd }),
    ...(env === undefined ? {} : { env }),
  });
}

/**
 * Runs a program that prints little, without execa, which takes longer to load than systemctl takes to answer.
 * @throws Error
 */
export function commandOutput(file: string, args: readonly string[], timeoutMs: number): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(file, args, { timeout: timeoutMs, encoding: 'utf8' }, (error, stdout) =>
      error === null ? resolve(stdout) : reject(error),
    );
  });
}

/** The same, while nothing else happens. @param env the whole of its environment, our own by default @throws Error */
export function commandOutputSync(
  file: string,
  args: readonly string[],
  { cwd, env }: { readonly cwd: string; readonly env?: Readonly<Record<string, string | undefined>> },
): string {
  return execFileSync(file, args, {
    cwd,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(env === undefined ? {} : { env }),
  });
}

/**
 * Runs a program to its end, which has our output and errors.
 * @returns its exit status, or 128 and the number of the signal that has ended it
 * @throws Error where it could not be started
 */
export function runBeside(program: string, args: readonly string[]): Promise<number> {
  const running = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  return new Promise((resolve, reject) => {
    running.once('error', reject);
    running.once('exit', (status, signal) =>
      resolve(status ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  });
}

/** Starts a program through which bytes are sent. An error event tells that it could not be started. */
export function startFilter(program: string, args: readonly string[]): ChildProcessWithoutNullStreams {
  return spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
}

/**
 * Starts a program that runs beside us, without standard input. An error event tells that it could not be started.
 * @param output the descriptor that its output and errors go to, or `pipe` for streams
 * @param env the whole of its environment, our own by default
 * @param cwd the folder that it runs in, our own by default
 */
export function startProgram(
  program: string,
  args: readonly string[],
  output: number | 'pipe',
  env?: Environment,
  cwd?: string,
): RunningProgram {
  return spawn(program, args, {
    stdio: ['ignore', output, output],
    ...(env === undefined ? {} : { env }),
    ...(cwd === undefined ? {} : { cwd }),
  });
}
