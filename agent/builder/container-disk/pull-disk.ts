import { createReadStream, lstatSync, statfsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { MAX_CONFIG_BYTES } from '../../docker/image-config.ts';
import { hexOf, sha256 } from '../../docker/ids.ts';
import { isImageManifest, parseImageManifest, type Descriptor } from '../../docker/image-manifest.ts';
import { MAX_IMAGE_MANIFEST_BYTES } from '../../disk/limits.ts';
import { isEDQUOT, isENOSPC, messageOf, PreloaderError } from '../../system/errors.ts';
import { requireTool } from '../../system/run-tool.ts';
import { readUntrusted } from '../../system/read-files.ts';
import type { Progress } from '../../text/progress.ts';
import { isRecord } from '../../text/is-record.ts';
import { megabytes } from '../../text/megabytes.ts';
import { parseUntrusted } from '../../text/parse-untrusted.ts';
import { inspectDisk, type Inspection } from '../../verify/inspect-disk.ts';
import { makeWorkplace, TO_STDOUT, type Workplace } from '../workplace.ts';
import { ImageClients, type RegistryAccess } from '../source/image-clients.ts';
import { diskInLayer } from './disk-in-layer.ts';
import { DISK_DIGEST, DISK_MANIFEST } from './labels.ts';
import { askedName, nameOf } from './registry-name.ts';

/** A disk that has been brought from a registry. */
interface PulledDisk {
  /** Where it came from, by digest. */
  readonly from: string;
  /** The digest of the disk as a file. */
  readonly digest: string;
  readonly sizeBytes: number;
  readonly inspection: Inspection;
}

/** Of the manifest alone, skopeo writes no more than this into a file. */
const LEAST_FILE_BYTES = MAX_IMAGE_MANIFEST_BYTES;

/**
 * Brings a disk from a registry, byte for byte. Nothing that the registry says is trusted: its bytes have the digests
 * by which they are asked for, the disk the one that its image names, and it is a disk that docker-preloader built.
 * @param source `docker://registry/name:tag`, or by digest
 * @param output a file, or `-`
 * @throws PreloaderError
 */
export async function pullDisk(
  source: string,
  output: string,
  access: RegistryAccess,
  progress: Progress,
): Promise<PulledDisk> {
  requireTool('skopeo');
  let clients: ImageClients | undefined;
  const workplace = makeWorkplace(output, { beforeRemoval: () => clients?.stop() });
  try {
    clients = new ImageClients(resolve(workplace.path('.')), access, (text) => progress.step(text));
    progress.step(`asking for ${source}`);
    const bytes = await clients.inspect('manifest', askedName(source), source, MAX_IMAGE_MANIFEST_BYTES);
    const from = `docker://${nameOf(source)}@${sha256(bytes)}`;
    const image = imageOf(source, bytes);
    const folder = output === TO_STDOUT ? workplace.path('.') : dirname(output);
    refuseWithoutRoom(source, 2 * image.layer.sizeBytes, folder);
    await clients.fetch(from, 'image', Math.max(image.layer.sizeBytes, LEAST_FILE_BYTES), {
      onBegin: () => {
        // Each byte comes once, and is read once.
        progress.expect(2 * image.layer.sizeBytes);
        progress.step(`fetching ${megabytes(image.layer.sizeBytes)}`);
      },
      onBytes: (bytes) => progress.read(bytes),
    });
    progress.step('unpacking');
    const { digest, sizeBytes } = await unpack(
      source,
      image.layer,
      workplace,
      (wanted) => {
        refuseWithoutRoom(source, wanted, folder);
      },
      progress,
    );
    const labels = labelsOf(source, workplace, image.config);
    const inspection = await inspectDisk(workplace.path('disk'), { deep: false }).catch((error: unknown) => {
      throw invalid(source, messageOf(error).replace(`${workplace.path('disk')}: `, ''));
    });
    expectDigest(source, 'a disk', labels[DISK_DIGEST], digest);
    expectDigest(source, 'a disk with the manifest', labels[DISK_MANIFEST], inspection.manifest?.digest);
    await workplace.publish('disk');
    return { from, digest, sizeBytes, inspection };
  } finally {
    progress.end();
    workplace.remove();
  }
}

interface DiskImage {
  readonly config: Descriptor;
  readonly layer: Descriptor;
}

/** The image that a manifest is of, which has one layer. */
function imageOf(source: string, bytes: Buffer): DiskImage {
  try {
    const document = parsed(bytes);
    const mediaType = isRecord(document) ? document['mediaType'] : undefined;
    // OCI lets a manifest do without; an index has no layers.
    if (mediaType !== undefined && !(typeof mediaType === 'string' && isImageManifest(mediaType)))
      throw new Error(
        `expected the manifest of one image, found the media type ${JSON.stringify(mediaType).slice(0, 80)}`,
      );
    const { config, layers } = parseImageManifest(bytes);
    const [layer, ...more] = layers;
    if (layer === undefined || more.length > 0)
      throw new Error(`expected the image of a disk, which has one layer, found ${layers.length}`);
    if (config.sizeBytes > MAX_CONFIG_BYTES)
      throw new Error(`expected a configuration of at most ${MAX_CONFIG_BYTES} bytes, found ${config.sizeBytes}`);
    return { config, layer };
  } catch (error) {
    throw invalid(source, messageOf(error));
  }
}

function parsed(bytes: Buffer): unknown {
  try {
    return parseUntrusted(bytes.toString('utf8'));
  } catch (error) {
    throw new Error('expected the manifest of an image, found something else', { cause: error });
  }
}

/** Takes the disk out of the layer, all of whose bytes are compared with its digest. */
async function unpack(
  source: string,
  { digest, sizeBytes }: Descriptor,
  workplace: Workplace,
  onSize: (sizeBytes: number) => void,
  progress: Progress,
): Promise<{ readonly digest: string; readonly sizeBytes: number }> {
  const path = workplace.path(`image/${hexOf(digest)}`);
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats?.isFile() !== true || stats.size !== sizeBytes)
    throw invalid(source, `expected a layer of ${sizeBytes} bytes, found ${stats?.size ?? 'none'}`);
  try {
    const found = await diskInLayer(createReadStream(path), sizeBytes, workplace.path('disk'), onSize, (bytes) =>
      progress.read(bytes),
    );
    expectDigest(source, 'a layer', digest, found.layerDigest);
    return found.disk;
  } catch (error) {
    if (error instanceof PreloaderError) throw error;
    if (isENOSPC(error) || isEDQUOT(error))
      throw new PreloaderError('BUILD_FAILED', `${source}: expected room for the disk, found none left`, {
        cause: error,
      });
    throw invalid(source, messageOf(error), error);
  }
}

/** The labels of the image's configuration. */
function labelsOf(source: string, workplace: Workplace, { digest }: Descriptor): Readonly<Record<string, unknown>> {
  const bytes = readUntrusted(workplace.path(`image/${hexOf(digest)}`), MAX_CONFIG_BYTES);
  if (bytes === undefined) throw invalid(source, `expected the configuration ${digest}, found none`);
  expectDigest(source, 'a configuration', digest, sha256(bytes));
  const document = parseUntrusted(bytes.toString('utf8'));
  const config = isRecord(document) ? document['config'] : undefined;
  const labels = isRecord(config) ? config['Labels'] : undefined;
  return isRecord(labels) ? labels : {};
}

/** @param expected undefined where nothing was promised */
function expectDigest(source: string, what: string, expected: unknown, found: string | undefined): void {
  if (expected !== undefined && expected !== found)
    throw invalid(
      source,
      `expected ${what} ${typeof expected === 'string' ? expected.slice(0, 80) : 'that is a text'}, found ${found ?? 'none'}`,
    );
}

/** Refuses before it is begun what would fill a filesystem. */
function refuseWithoutRoom(source: string, wantedBytes: number, folder: string): void {
  const { bavail, bsize } = statfsSync(folder);
  if (wantedBytes > bavail * bsize)
    throw new PreloaderError(
      'BUILD_FAILED',
      `${source}: expected room for ${megabytes(wantedBytes)} in ${folder}, found ${megabytes(bavail * bsize)}`,
    );
}

function invalid(source: string, message: string, cause?: unknown): PreloaderError {
  return new PreloaderError('DISK_INVALID', `${source}: ${message}`, cause === undefined ? undefined : { cause });
}
