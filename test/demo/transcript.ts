import { styleText } from 'node:util';
import { execa, ExecaError } from 'execa';
import { throwIfInterrupted } from './interruption.ts';

/**
 * What the demo prints: headings, the commands that it runs as lines to copy, and what they said.
 * Colours only on a terminal, and not with NO_COLOR (styleText looks at both).
 */

/** Begins a part. Ends the run where Ctrl-C was pressed meanwhile. */
export function heading(text: string): void {
  throwIfInterrupted();
  print(`\n${styled('bold', `== ${text}`)}`);
}

/** A line or more of explanation. */
export function say(text: string): void {
  print(text);
}

/** Prints a command as a line to copy, without running it: for what the caller runs by other means. */
export function announce(line: string, prompt = '$'): void {
  throwIfInterrupted();
  print(styled('cyan', `${prompt} ${line}`));
}

/** Prints what a command said, indented. */
export function output(text: string): void {
  if (text.trim() !== '') print(text.trimEnd().replace(/^(?=.)/gm, '  '));
}

/**
 * Prints a command, runs it, and prints what it said.
 * @returns its stdout without the newline at its end
 * @throws Error of one line with the command and the last line that it said
 */
export async function run(
  argv: readonly [string, ...string[]],
  options: { readonly what?: string } = {},
): Promise<string> {
  announce(shellLine(argv));
  const [command, ...args] = argv;
  return said(
    shellLine(argv),
    working(options.what ?? command, () =>
      execa(command, args, { all: true, stdin: 'ignore' }).then(({ stdout, all }) => ({ stdout, all })),
    ),
  );
}

/** Prints what a command, of which `line` is what was announced, says at its end; its failure becomes one line. */
export async function said(
  line: string,
  ended: Promise<{ readonly stdout: string; readonly all: string }>,
): Promise<string> {
  try {
    const { stdout, all } = await ended;
    output(all);
    return stdout;
  } catch (error) {
    throwIfInterrupted();
    if (!(error instanceof ExecaError)) throw error;
    const all = String(error.all ?? '').trimEnd();
    output(all);
    throw new Error(`\`${line}\` failed: ${all.split('\n').at(-1) || error.shortMessage}`, { cause: error });
  }
}

/** Waits for something, and shows for how long where that takes more than a second. */
export async function working<T>(what: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now();
  const isTerminal = process.stdout.isTTY;
  let shown = false;
  const timer = setInterval(() => {
    const seconds = Math.round((performance.now() - start) / 1000);
    shown = true;
    if (isTerminal) process.stdout.write(`\r  ${styled('dim', `${what}: ${seconds} s`)}\u001b[K`);
    else if (seconds % 10 === 0) print(`  ${what}: ${seconds} s`);
  }, 1000);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    if (isTerminal && shown) process.stdout.write('\r\u001b[K');
  }
}

/** Rows as columns, the first row being the head; columns after the first that hold figures are aligned right. */
export function table(rows: readonly (readonly string[])[]): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  for (const [index, row] of rows.entries()) {
    const line = row
      .map((cell, column) =>
        /^[\d.]+ \w+$/.test(cell) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd();
    print(`  ${index === 0 ? styled('bold', line) : line}`);
  }
}

/** A command as a shell takes it. */
export function shellLine(argv: readonly string[]): string {
  return argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(' ');
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function styled(format: 'bold' | 'cyan' | 'dim', text: string): string {
  return styleText(format, text, { stream: process.stdout });
}
