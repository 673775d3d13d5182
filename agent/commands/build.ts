import { isLabel } from '../disk/label.ts';
import { readBase } from '../builder/base-disk.ts';
import { buildDisk, type BuildOptions } from '../builder/build-disk.ts';
import { familiarReference } from '../builder/image-name.ts';
import { machinePlatform, parsePlatform } from '../builder/input-image.ts';
import { makeProgress } from '../builder/progress.ts';
import { MAX_READ_AHEAD_BYTES, parseReadAhead, type ReadAheadList } from '../disk/read-ahead.ts';
import { readUntrusted } from '../system/files.ts';
import { megabytes } from '../system/megabytes.ts';
import { messageOf } from '../system/errors.ts';

/** `build`'s options, as they stand on the command line, where commander has seen to the choices. */
export interface BuildArguments {
  readonly output: string;
  readonly format?: BuildOptions['format'];
  readonly filesystem?: BuildOptions['filesystem'];
  readonly size?: string;
  readonly label?: string;
  readonly priority?: string;
  readonly tag?: string;
  readonly platform?: string;
  readonly compress?: boolean;
  readonly base?: readonly string[];
  readonly readAhead?: string;
  readonly quiet?: boolean;
  readonly engine?: 'built-in' | 'docker' | 'docker-vm';
  readonly vm?: string;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/**
 * Makes a preload disk of image archives.
 * @param refuse tells of a wrong usage, and does not return
 * @returns the exit status
 */
export async function build(archives: readonly string[], options: BuildArguments, refuse: (message: string) => never): Promise<number> {
  const { engine = 'built-in' } = options;
  if ((engine === 'docker-vm') !== (options.vm !== undefined)) return refuse(`--vm DIR and --engine docker-vm expected together, found one of them`);
  const parsed = await parse(archives, options, refuse);
  if (engine !== 'built-in') return buildByDocker(parsed, options, refuse);
  const built = await buildDisk(parsed, makeProgress(process.stderr, options.quiet === true));
  for (const id of built.unnamed) process.stderr.write(`docker-preloader: ${id} has no name on the disk: give it one with --tag NAME:TAG\n`);
  const readAhead = built.readAhead === undefined ? '' : `, ${megabytes(built.readAhead.bytes)} of ${built.readAhead.files} files to read ahead`;
  process.stdout.write(`${options.output}: label ${built.label}, images ${built.images}, layers ${built.layers}, ${megabytes(built.sizeBytes)}, manifest ${built.manifestDigest}${readAhead}\n`);
  return 0;
}

/** What only the manifest can say has no place on a disk that dockerd makes. */
async function buildByDocker(parsed: BuildOptions, options: BuildArguments, refuse: (message: string) => never): Promise<number> {
  for (const [option, value] of Object.entries({ '--base': options.base, '--tag': options.tag, '--platform': options.platform, '--read-ahead': options.readAhead })) if (value !== undefined && value.length > 0) return refuse(`${option}: the built-in engine expected, found another`);
  if (parsed.priority !== 0) return refuse('--priority: the built-in engine expected, found another');
  if (parsed.filesystem !== 'ext4') return refuse(`--filesystem: ext4 expected with dockerd as the engine, found ${parsed.filesystem}`);
  const progress = makeProgress(process.stderr, options.quiet === true);
  const { label, sizeBytes } = options.vm === undefined
    ? await (await import('../builder/docker-engine.ts')).buildWithDocker(parsed, progress)
    : await (await import('../builder/docker-vm-engine.ts')).buildWithDockerVm(parsed, options.vm, progress);
  process.stdout.write(`${options.output}: label ${label}, ${megabytes(sizeBytes)}, made by dockerd, without a manifest\n`);
  return 0;
}

async function parse(archives: readonly string[], options: BuildArguments, refuse: (message: string) => never): Promise<BuildOptions> {
  const attempt = <Value>(option: string, action: () => Value): Value => {
    try {
      return action();
    } catch (error) {
      return refuse(`${option}: ${messageOf(error)}`);
    }
  };
  const { format = 'qcow2', filesystem = 'ext4', label, size, tag, platform, priority = '0' } = options;
  if (archives.filter((name) => name === '-').length > 1) refuse("'-', standard input, expected once, found it again");
  if (options.compress === true && format === 'raw') refuse('--compress: the format qcow2 expected, found raw');
  const maxLabel = filesystem === 'erofs' ? 15 : 16;
  if (label !== undefined && (!isLabel(label) || label.length > maxLabel)) refuse(`--label: 1 to ${maxLabel} letters, digits, '.', '_' and '-', the first a letter or digit, expected, found '${label}'`);
  if (!/^-?\d{1,9}$/.test(priority)) refuse(`--priority: a whole number expected, found '${priority}'`);
  return {
    archives,
    output: options.output,
    format,
    filesystem,
    label,
    sizeBytes: size === undefined ? undefined : attempt('--size', () => parseSize(size)),
    priority: Number(priority),
    tag: tag === undefined ? undefined : attempt('--tag', () => familiarReference(tag)),
    platform: platform === undefined ? machinePlatform() : attempt('--platform', () => parsePlatform(platform)),
    compress: options.compress === true,
    readAhead: options.readAhead === undefined ? undefined : readList(options.readAhead, refuse),
    bases: await Promise.all((options.base ?? []).map(readBase)),
  };
}

function readList(path: string, refuse: (message: string) => never): ReadAheadList {
  try {
    const bytes = readUntrusted(path, MAX_READ_AHEAD_BYTES);
    if (bytes === undefined) throw new Error(`${path}: a list that docker-preloader record printed expected, found no such file`);
    return parseReadAhead(bytes.toString('utf8'), path);
  } catch (error) {
    return refuse(`--read-ahead: ${messageOf(error)}`);
  }
}

function parseSize(text: string): number {
  const match = /^(\d{1,15})([KMGT]?)$/.exec(text);
  const bytes = Number(match?.[1]) * (UNITS[match?.[2] ?? ''] ?? 1);
  if (match === null || bytes > 2 ** 40 || bytes % 4096 !== 0) throw new Error(`bytes, or a number with K, M, G or T, in whole blocks of 4096 and at most 1T, expected, found '${text}'`);
  return bytes;
}
