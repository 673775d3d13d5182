import { processMs } from '../system/clock.ts';
import { buildDisk, type BuiltDisk } from '../builder/build-disk.ts';
import type { BuildOptions } from '../builder/disk-options.ts';
import { writeLock } from '../builder/source/source-lock.ts';
import { TO_STDOUT } from '../builder/workplace.ts';
import { stderr, tellLine } from '../system/stderr.ts';
import { makeProgress } from '../text/progress.ts';
import { megabytes } from '../text/megabytes.ts';
import { oneLine } from '../text/one-line.ts';
import { plural } from '../text/plural.ts';
import { parseOptions, type BuildArguments, type Refuse } from './build-options.ts';

/** What `build --json` prints. A disk that dockerd made has no digest, and its images are not known. */
interface BuildDocument {
  readonly output: string | null;
  readonly format: BuildOptions['format'];
  readonly filesystem: BuildOptions['filesystem'];
  readonly label: string;
  /** The digest of the manifest, for `required`. */
  readonly digest: string | null;
  /** The fingerprint of the key that has signed it. */
  readonly signedBy: string | null;
  /** The filesystem's size. */
  readonly bytes: number;
  readonly images: BuiltDisk['images'] | null;
  /** How many layers are on this disk. */
  readonly layers: number | null;
  readonly bases: readonly string[];
  readonly readAhead: { readonly files: number; readonly bytes: number } | null;
  /** Null where dockerd made the disk. */
  readonly blobs: BuiltDisk['blobs'] | null;
  /** Where a registry has the disk now, by digest; null where it was not pushed. */
  readonly pushed: string | null;
  readonly dryRun: boolean;
}

/**
 * Makes a preload disk from image archives.
 * @returns the exit status
 */
export async function build(archives: readonly string[], options: BuildArguments, refuse: Refuse): Promise<number> {
  const { engine = 'built-in' } = options;
  if ((engine === 'docker-vm') !== (options.vm !== undefined)) {
    return refuse(`expected --vm DIR and --engine docker-vm together, found only one of them`);
  }
  const parsed = await parseOptions(archives, options, refuse);
  if (engine !== 'built-in') return await buildByDocker(parsed, options, refuse);
  const built = await buildDisk(parsed, makeProgress(stderr, options.quiet === true, processMs));
  if (parsed.lock !== undefined && parsed.lock.sources === undefined && !parsed.dryRun)
    writeLock(parsed.lock, built.taken);
  for (const note of [...built.notes, ...blobNotes(built.blobs)]) tellLine(`docker-preloader: ${note}`);
  tell(
    {
      ...about(parsed),
      label: built.label,
      digest: built.manifestDigest,
      signedBy: built.signedBy ?? null,
      bytes: built.sizeBytes,
      images: built.images,
      layers: built.layers,
      bases: parsed.bases.map(({ label }) => label),
      readAhead: built.readAhead ?? null,
      blobs: built.blobs,
      pushed: built.pushed ?? null,
    },
    options.json,
  );
  return 0;
}

/** Refuses options whose values are stored in the manifest, which a disk made by dockerd does not have. */
async function buildByDocker(parsed: BuildOptions, options: BuildArguments, refuse: Refuse): Promise<number> {
  const onlyOurs = {
    '--base': options.base,
    '--lock': options.lock,
    [parsed.archives.find(({ source }) => source !== undefined)?.path ?? '']: parsed.archives.find(
      ({ source }) => source !== undefined,
    )?.path,
    '--tag': options.tag,
    '--platform': options.platform,
    '--read-ahead': options.readAhead,
    '--sign': options.sign,
    '--blobs': options.blobs === 'none' ? undefined : options.blobs,
    '--push': options.push,
    '--format': ['qcow2', 'raw'].includes(parsed.format) ? undefined : parsed.format,
    '--dry-run': options.dryRun === true ? '' : undefined,
    'ARCHIVE=NAME:TAG': parsed.archives.find(({ name, image }) => name !== undefined || image !== undefined)?.path,
  };
  for (const [option, value] of Object.entries(onlyOurs)) {
    if (value !== undefined && !(Array.isArray(value) && value.length === 0))
      return refuse(`${option}: expected the built-in engine, found another`);
  }
  if (parsed.priority !== 0) return refuse('--priority: expected the built-in engine, found another');
  if (parsed.filesystem !== 'ext4') {
    return refuse(`--filesystem: expected ext4 with dockerd as the engine, found ${parsed.filesystem}`);
  }
  const progress = makeProgress(stderr, options.quiet === true, processMs);
  const { label, sizeBytes } =
    options.vm === undefined
      ? await (await import('../builder/engine/docker-engine.ts')).buildWithDocker(parsed, progress)
      : await (await import('../builder/engine/docker-vm-engine.ts')).buildWithDockerVm(parsed, options.vm, progress);
  tell(
    {
      ...about(parsed),
      label,
      digest: null,
      signedBy: null,
      bytes: sizeBytes,
      images: null,
      layers: null,
      bases: [],
      readAhead: null,
      blobs: null,
      pushed: null,
    },
    options.json,
  );
  return 0;
}

/** What the blobs cost, and which guests they need. */
function blobNotes({ count, bytes, addedBytes, smallBlocks }: BuiltDisk['blobs']): string[] {
  const cost = `${plural(count, 'blob')} of layers, ${megabytes(bytes)}, for containerd's store: the disk is ${megabytes(addedBytes)} larger for them; --blobs none leaves them out`;
  const kernel =
    'the layers share their room with their blobs, in blocks of 512 bytes: guests need Linux 6.4 or later, or 6.1.115 or later of Debian 12; --blobs none is for older ones';
  return [...(count === 0 ? [] : [cost]), ...(smallBlocks ? [kernel] : [])];
}

function about({
  output,
  format,
  filesystem,
  dryRun,
}: BuildOptions): Pick<BuildDocument, 'output' | 'format' | 'filesystem' | 'dryRun'> {
  return { output: output ?? null, format, filesystem, dryRun };
}

/** Prints what was made, on standard output unless the disk goes there. */
function tell(document: BuildDocument, json = false): void {
  const stream = document.output === TO_STDOUT && !document.dryRun ? stderr : process.stdout;
  stream.write(json ? `${JSON.stringify(document, undefined, 2)}\n` : describe(document));
}

function describe({
  output,
  dryRun,
  label,
  digest,
  signedBy,
  bytes,
  images,
  layers,
  readAhead,
  blobs,
  pushed,
}: BuildDocument): string {
  const where = output === TO_STDOUT ? 'standard output' : (output ?? pushed ?? 'a disk');
  const name = dryRun ? `dry run, nothing written: ${where}` : where;
  if (images === null) {
    return `${oneLine(name)}: label ${label}, ${megabytes(bytes)}, made by dockerd, without a manifest\n`;
  }
  const ahead =
    readAhead === null ? '' : `, ${megabytes(readAhead.bytes)} of ${plural(readAhead.files, 'file')} to read ahead`;
  const leftOut = blobs?.leftOut ?? 0;
  const without =
    leftOut === 0 ? '' : `, ${leftOut} uncompressed without blobs (--filesystem erofs or --blobs tar has them)`;
  const counts = `images ${images.length}, layers ${layers ?? 0}, ${megabytes(bytes)}${without}`;
  const place = pushed === null || pushed === where ? '' : `, pushed to ${pushed}`;
  const signer = signedBy === null ? '' : `, signed by ${signedBy}`;
  const summary = `${name}: label ${label}, ${counts}, manifest ${digest ?? 'none'}${ahead}${signer}${place}`;
  const list = dryRun
    ? images.map(
        (image) => `  ${image.references.join(', ') || 'no name'}: ${plural(image.layers, 'layer')}, ${image.id}`,
      )
    : [];
  return `${[summary, ...list].map(oneLine).join('\n')}\n`;
}
