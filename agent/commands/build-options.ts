import { accessSync, constants, lstatSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { isatty } from 'node:tty';
import { parseArchiveArgument, type ArchiveArgument } from '../builder/archive/archive-argument.ts';
import { readBase } from '../builder/base-disk.ts';
import { DISK_FORMATS, type BuildOptions } from '../builder/disk-options.ts';
import { familiarReference } from '../builder/archive/image-name.ts';
import { checkRegistryName } from '../builder/container-disk/registry-name.ts';
import { refuseInputAsOutput, type Input } from '../builder/inputs.ts';
import { readSourceList } from '../builder/source/source-list.ts';
import { lockedArgument, lockTempPath, readLock, type SourceLock } from '../builder/source/source-lock.ts';
import { TO_STDOUT } from '../builder/workplace.ts';
import { machinePlatform, parsePlatform } from '../builder/archive/platform.ts';
import { isLabel } from '../config/label.ts';
import { MAX_READ_AHEAD_BYTES } from '../disk/limits.ts';
import { parseReadAhead, type ReadAheadList } from '../disk/read-ahead-list.ts';
import { isStdoutClosed } from '../system/copy-to-stdout.ts';
import { messageOf, noSuchFile, reasonOf, shownPath } from '../system/errors.ts';
import { readUntrusted } from '../system/read-files.ts';
import { tempPathOf } from '../system/write-files.ts';

/** The options of `build` as given on the command line. commander has already checked those with fixed choices. */
export interface BuildArguments {
  readonly output?: string;
  readonly format?: BuildOptions['format'];
  readonly filesystem?: BuildOptions['filesystem'];
  readonly size?: string;
  readonly label?: string;
  readonly priority?: string;
  readonly tag?: string;
  readonly file?: string;
  readonly lock?: string;
  readonly authfile?: string;
  readonly insecure?: boolean;
  readonly platform?: string;
  readonly compress?: boolean;
  readonly push?: string;
  readonly base?: readonly string[];
  readonly readAhead?: string;
  readonly sign?: string;
  readonly blobs?: BuildOptions['blobs'];
  readonly quiet?: boolean;
  readonly json?: boolean;
  readonly dryRun?: boolean;
  readonly engine?: 'built-in' | 'docker' | 'docker-vm';
  readonly vm?: string;
}

/** Reports wrong usage and does not return. */
export type Refuse = (message: string) => never;

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const STDOUT = 1;

/**
 * Checks the options and reads the files that they name.
 * @throws PreloaderError if the output is also an input, or a base disk is not one
 */
export async function parseOptions(
  archives: readonly string[],
  options: BuildArguments,
  refuse: Refuse,
): Promise<BuildOptions> {
  const attempt = <Value>(option: string, action: () => Value): Value => {
    try {
      return action();
    } catch (error) {
      return refuse(`${option}: ${messageOf(error)}`);
    }
  };
  const { filesystem = 'ext4', label, size, tag, platform, priority = '0' } = options;
  const sources = [...archives, ...(options.file === undefined ? [] : readSourceList(options.file))];
  if (sources.length === 0) refuse('expected an archive or a source, or --file LIST, found none');
  const lock = options.lock === undefined ? undefined : lockAt(options.lock, refuse);
  const inputs = sources
    .map((text) => attempt(shownSource(text), () => parseArchiveArgument(text)))
    .map((argument) => (lock === undefined ? argument : lockedArgument(argument, lock)));
  if (inputs.filter(({ path }) => path === '-').length > 1) {
    refuse("expected '-', standard input, once, found it again");
  }
  const { output, format } = parseOutput(options, refuse);
  const { push } = options;
  if (push !== undefined) {
    attempt('--push', () => checkRegistryName(push));
    if (push.includes('@'))
      refuse(`--push: expected a name with a tag or none, found ${push}: the digest is known when the disk is there`);
    if (format !== 'containerdisk')
      refuse(`--push: expected --format containerdisk with -o ${output ?? ''}, found ${format}`);
  }
  const maxLabel = filesystem === 'erofs' ? 15 : 16;
  if (label !== undefined && (!isLabel(label) || label.length > maxLabel)) {
    refuse(
      `--label: expected 1 to ${maxLabel} letters, digits, '.', '_' and '-', the first a letter or digit, ` +
        `found '${label}'`,
    );
  }
  if (!/^-?\d{1,9}$/.test(priority)) refuse(`--priority: expected a whole number, found '${priority}'`);
  if (output !== undefined && !(output === TO_STDOUT && options.dryRun === true)) {
    refuseInputAsOutput(output, await inputsOf(inputs, options));
  }
  return {
    archives: inputs,
    access: {
      authFile: options.authfile === undefined ? undefined : authFile(options.authfile, refuse),
      insecure: options.insecure === true,
    },
    lock,
    output,
    format,
    filesystem,
    label,
    sizeBytes: size === undefined ? undefined : attempt('--size', () => parseSize(size)),
    priority: Number(priority),
    tag: tag === undefined ? undefined : attempt('--tag', () => familiarReference(tag)),
    choice: {
      platform: platform === undefined ? machinePlatform() : attempt('--platform', () => parsePlatform(platform)),
      asked: platform !== undefined,
    },
    compress: options.compress === true,
    push,
    blobs: options.blobs ?? 'keep',
    readAhead: options.readAhead === undefined ? undefined : readList(options.readAhead, refuse),
    bases: await Promise.all((options.base ?? []).map(readBase)),
    sign: options.sign,
    dryRun: options.dryRun === true,
  };
}

/** Where the disk goes, and in which format. The ending of its name decides if the format is not given. */
function parseOutput(
  { output, format, compress, json, dryRun, push }: BuildArguments,
  refuse: Refuse,
): { readonly output: string | undefined; readonly format: BuildOptions['format'] } {
  if (output === '' || (output === undefined && dryRun !== true && push === undefined)) {
    return refuse('-o, --output DISK: expected a file, or - for standard output, found none');
  }
  const named = format ?? (output === undefined && push !== undefined ? 'containerdisk' : formatOf(output ?? ''));
  if (output === TO_STDOUT && (named === 'qcow2' || (compress === true && named === 'raw'))) {
    return refuse('-o -: expected the format raw, found qcow2, which needs to seek: name a file');
  }
  if (output === TO_STDOUT && dryRun !== true) {
    if (json === true) {
      return refuse('--json: expected a file as output, found -: the disk itself goes to standard output');
    }
    if (isStdoutClosed()) return refuse('-o -: expected a file or a pipe as standard output, found it closed');
    if (isatty(STDOUT)) return refuse('-o -: expected a file or a pipe as standard output, found a terminal');
  }
  if (compress === true && named !== 'qcow2' && named !== 'containerdisk') {
    return refuse(
      `--compress: expected the format qcow2, found ${named}${named === format ? '' : `, by the ending of ${output ?? ''}`}`,
    );
  }
  return { output, format: named };
}

function formatOf(output: string): BuildOptions['format'] {
  if (output === TO_STDOUT || /\.(?:raw|img)$/i.test(output)) return 'raw';
  const ending = /\.(vmdk|vdi|vhdx)$/i.exec(output)?.[1]?.toLowerCase();
  return DISK_FORMATS.find((format) => format === ending) ?? 'qcow2';
}

/** Everything that a build reads. */
async function inputsOf(
  archives: readonly ArchiveArgument[],
  { base = [], readAhead, sign, vm, file, lock, authfile }: BuildArguments,
): Promise<Input[]> {
  const guest =
    vm === undefined
      ? []
      : (await import('../builder/engine/docker-vm-engine.ts')).GUEST_FILES.map((name) => join(vm, name));
  return [
    ...archives.map(({ path }) => ({ role: 'the archive', path })),
    ...base.map((path) => ({ role: 'the base disk', path })),
    ...(file === undefined ? [] : [{ role: 'the list of --file', path: file }]),
    // It is written when the disk is there, by way of a file beside it.
    ...(lock === undefined
      ? []
      : [lock, tempPathOf(lock)].map((path) => ({ role: 'the file of --lock', path, isToBeMade: true }))),
    ...(authfile === undefined ? [] : [{ role: 'the file of --authfile', path: authfile }]),
    ...(readAhead === undefined ? [] : [{ role: 'the list of --read-ahead', path: readAhead }]),
    ...(sign === undefined ? [] : [{ role: 'the key of --sign', path: sign }]),
    ...guest.map((path) => ({ role: "the guest's file", path })),
  ];
}

/** A source as it may be told: one that has somebody's password in it is not quoted. */
function shownSource(text: string): string {
  return text.replace(/^([A-Za-z-]+:(?:\/\/)?).*@(?!sha256:)/s, '$1');
}

function lockAt(path: string, refuse: Refuse): SourceLock {
  const lock = readLock(path);
  if (lock.sources !== undefined) return lock;
  if (path === '' || path.endsWith('/')) return refuse(`--lock: expected the name of a file, found '${path}'`);
  try {
    accessSync(dirname(path), constants.W_OK | constants.X_OK);
    lstatSync(lockTempPath(path), { throwIfNoEntry: false });
  } catch (error) {
    return refuse(`--lock: nothing can be written in the folder ${dirname(path)}: ${reasonOf(error)}`);
  }
  return lock;
}

/** By its whole path, because skopeo runs elsewhere. */
export function authFile(path: string, refuse: Refuse): string {
  try {
    accessSync(path, constants.R_OK);
    return resolve(path);
  } catch (error) {
    return refuse(`--authfile: ${shownPath(path)}: expected a file of skopeo login, found ${reasonOf(error)}`);
  }
}

function readList(path: string, refuse: Refuse): ReadAheadList {
  try {
    const bytes = readUntrusted(path, MAX_READ_AHEAD_BYTES);
    if (bytes === undefined) {
      throw new Error(
        `${shownPath(path)}: expected a list that docker-preloader record printed, found ${noSuchFile(path)}`,
      );
    }
    return parseReadAhead(bytes.toString('utf8'), path);
  } catch (error) {
    return refuse(`--read-ahead: ${messageOf(error)}`);
  }
}

function parseSize(text: string): number {
  const match = /^(\d{1,15})([KMGT]?)$/.exec(text);
  const bytes = Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? 1);
  if (match === null || bytes === 0 || bytes > 2 ** 40 || bytes % 4096 !== 0) {
    throw new Error(
      `expected a number of bytes, or one with K, M, G or T, in whole blocks of 4096 and at most 1T, found '${text}'`,
    );
  }
  return bytes;
}
