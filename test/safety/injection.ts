import { readFileSync } from 'node:fs';
import { execa } from 'execa';
import { agentCommand } from '../support/agent.ts';
import { ensureDebianPackages } from '../support/debian-packages.ts';

/** Calls that change a filesystem, or that decide when a change is durable. */
const CHANGING = [
  'openat',
  'open',
  'creat',
  'write',
  'writev',
  'pwrite64',
  'pwritev',
  'pwritev2',
  'rename',
  'renameat',
  'renameat2',
  'symlink',
  'symlinkat',
  'link',
  'linkat',
  'mkdir',
  'mkdirat',
  'unlink',
  'unlinkat',
  'rmdir',
  'fsync',
  'fdatasync',
  'syncfs',
  'chmod',
  'fchmod',
  'fchmodat',
  'chown',
  'fchown',
  'fchownat',
  'lchown',
  'copy_file_range',
  'sendfile',
  'splice',
  'truncate',
  'ftruncate',
  'fallocate',
  'mknod',
  'mknodat',
  'utimensat',
  'setxattr',
  'lsetxattr',
  'fsetxattr',
  'mount',
  'umount2',
];

/** One call of a run that changes the store: the `index`th of its kind on `path`. */
export interface Call {
  readonly name: string;
  readonly path: string;
  readonly index: number;
  readonly text: string;
  readonly failed: boolean;
}

/** What befalls a call: the process is killed before it is carried out, or it fails. */
export type Fault = 'KILL' | 'EIO' | 'ENOSPC';

/** Runs `apply` to its end and lists the calls in it that change what is below `folder`, in their order. */
export async function recordCalls(config: string, folder: string, log: string): Promise<Call[]> {
  await ensureDebianPackages(['strace'], { install: true });
  const { exitCode, all } = await traced(config, log, []);
  if (exitCode !== 0 && exitCode !== 3)
    throw new Error(`expected an undisturbed run, found exit status ${String(exitCode)}: ${all}`);
  const lines = readFileSync(log, 'utf8').split('\n');
  const calls: Call[] = [];
  for (const [number, line] of lines.entries()) {
    const [, name, text] = /^\d+\s+(\w+)\((.*)$/.exec(line) ?? [];
    if (name === undefined || text === undefined) continue;
    const paths = [...text.matchAll(/["<](\/[^">]*)[">]/g)]
      .map((match) => match[1] ?? '')
      .filter((one) => one === folder || one.startsWith(`${folder}/`));
    // The last counts: that of the new name, or of the file that is written to; of a rename strace looks at the old
    // name alone.
    const path = name.startsWith('rename') ? paths[0] : paths.at(-1);
    if (path === undefined || (name.startsWith('open') && !/O_CREAT|O_TRUNC/.test(text))) continue;
    const index = lines
      .slice(0, number + 1)
      .filter((other) => new RegExp(`^\\d+\\s+${name}\\(`).test(other) && isOn(other, path, name)).length;
    calls.push({ name, path, index, text: normalise(text), failed: / = -1 /.test(text) });
  }
  return calls;
}

/** Whether strace's --trace-path takes a call for one on the path: it is an argument, or what an argument has open. */
function isOn(line: string, path: string, name: string): boolean {
  return name.startsWith('rename')
    ? line.includes(`${name}("${path}"`)
    : line.includes(`"${path}"`) || line.includes(`<${path}>`);
}

/**
 * Runs `apply` with a fault at one call.
 * @returns its exit status, and whether the fault struck the call that was meant
 */
export async function runWithFault(
  config: string,
  log: string,
  call: Call,
  fault: Fault,
): Promise<{ readonly exitCode: number | undefined; readonly struck: boolean; readonly all: string }> {
  const effect = fault === 'KILL' ? 'signal=KILL' : `error=${fault}`;
  const { exitCode, all } = await traced(config, log, [
    `--trace-path=${call.path}`,
    `--inject=${call.name}:${effect}:when=${call.index}`,
  ]);
  const lines = readFileSync(log, 'utf8').trimEnd().split('\n');
  const mark =
    fault === 'KILL'
      ? new RegExp(`^\\d+\\s+${call.name}\\(.*(= \\?|unfinished)`)
      : new RegExp(`^\\d+\\s+${call.name}\\(.*\\(INJECTED\\)`);
  const start = call.text.slice(0, 60);
  return {
    exitCode,
    all,
    struck: lines.some((line) => mark.test(line) && normalise(line.slice(line.indexOf('(') + 1)).startsWith(start)),
  };
}

async function traced(
  config: string,
  log: string,
  inject: readonly string[],
): Promise<{ readonly exitCode: number | undefined; readonly all: string }> {
  const { exitCode, all } = await execa(
    'strace',
    [
      '--follow-forks',
      '--decode-fds=path',
      '--string-limit=300',
      ...(inject.length > 0 ? [] : ['--seccomp-bpf']),
      '-o',
      log,
      `--trace=${CHANGING.map((name) => `?${name}`).join(',')}`,
      ...inject,
      ...agentCommand(),
      'apply',
      '--config',
      config,
    ],
    { reject: false, all: true, stdin: 'ignore', timeout: 120_000 },
  );
  return { exitCode, all };
}

/** Without what differs from run to run: the numbers of open files, and the result. */
function normalise(text: string): string {
  return text
    .replaceAll(/\b\d+</g, '<')
    .replace(/\) += .*$/, '')
    .replace(/\s*<unfinished.*$/, '');
}
