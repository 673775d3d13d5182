import { hexOf } from '../../docker/ids.ts';
import { layerMediaType, makeImageManifest, type Descriptor } from '../../docker/image-manifest.ts';
import { isENOSPC, PreloaderError, reasonOf } from '../../system/errors.ts';
import type { Progress } from '../../text/progress.ts';
import { plural } from '../../text/plural.ts';
import { json, ociArchive, file, writeTarFile } from '../oci-archive.ts';
import { inMemory, tarBytes, type TarContent } from '../tar/write-tar.ts';
import { makeWorkplace } from '../workplace.ts';
import { ExportedDisk } from './exported-disk.ts';
import { findImage, type FoundImage } from './find-image.ts';

export interface ExportedImage {
  /** The digest of its configuration, which is always what went in. */
  readonly id: string;
  readonly references: readonly string[];
  /** The digest of its manifest, or of the index that leads to it. */
  readonly digest: string;
  /** The digest that went in and cannot be given back; undefined where it is. */
  readonly lost: string | undefined;
  /** How many of its layers were compressed, and are not kept so. */
  readonly lostLayers: number;
  readonly layers: number;
}

/** What an image is given back as. */
interface GivenBack {
  readonly target: Descriptor;
  /** The manifest and the indexes above it. */
  readonly manifests: ReadonlyMap<string, Buffer>;
  /** The digest and the content of each layer, base first. */
  readonly layers: readonly (readonly [string, TarContent])[];
  readonly lostLayers: number;
}

/**
 * Gives an image of a disk back as an OCI archive, which `docker load` takes, too: with the manifest and the layers
 * that went in, digest for digest. Layers that the disk has as blobs are taken as they are; those that came
 * uncompressed are put together from their files, as dockerd does. Where a compressed layer was not kept, its bytes are
 * lost, and with them the manifest's digest: the image is then given with uncompressed layers, and keeps its ID.
 * @param bases disks with layers that the disk leaves out
 * @throws PreloaderError
 */
export async function exportImage(
  path: string,
  name: string,
  output: string,
  bases: readonly string[],
  progress: Progress,
): Promise<ExportedImage> {
  const disks: ExportedDisk[] = [];
  const workplace = makeWorkplace(output);
  try {
    for (const one of [path, ...bases]) disks.push(new ExportedDisk(one));
    const [disk] = disks;
    if (disk === undefined) throw new Error('expected a disk, found none');
    const found = findImage(disk, name);
    progress.step('looking for layers');
    const { target, manifests, layers, lostLayers } = await givenBack(found, disks);
    const { config, id } = found.image;
    const blobs = new Map<string, TarContent>([
      ...layers,
      ...[...manifests].map(([digest, bytes]) => [digest, inMemory(bytes)] as const),
      [id, inMemory(config)],
    ]);
    const blob = (digest: string): string => `blobs/sha256/${hexOf(digest)}`;
    const manifest = [{ Config: blob(id), RepoTags: found.references, Layers: layers.map(([digest]) => blob(digest)) }];
    const members = ociArchive(
      blobs,
      [{ target, references: found.references }],
      [file('manifest.json', json(manifest))],
    );
    progress.expect(tarBytes(members));
    progress.step(`writing ${plural(layers.length, 'layer')}`);
    await writeTarFile(workplace.path('image'), members, (bytes) => progress.read(bytes));
    await workplace.publish('image');
    const isLost = !found.target.isMade && found.target.target.digest !== target.digest;
    return {
      id,
      references: found.references,
      digest: target.digest,
      lost: isLost ? found.target.target.digest : undefined,
      lostLayers,
      layers: layers.length,
    };
  } catch (error) {
    if (isENOSPC(error))
      throw new PreloaderError('BUILD_FAILED', `${output}: expected room for the image, found the filesystem full`, {
        cause: error,
      });
    if (error instanceof PreloaderError) throw error;
    throw new PreloaderError('BUILD_FAILED', `${output}: ${reasonOf(error)}`, { cause: error });
  } finally {
    progress.end();
    for (const disk of disks) disk.close();
    workplace.remove();
  }
}

async function givenBack({ image, target }: FoundImage, disks: readonly ExportedDisk[]): Promise<GivenBack> {
  const kept: (readonly [string, TarContent])[] = [];
  let lostLayers = 0;
  for (const layer of target.isMade ? [] : target.layers) {
    const { descriptor, diffID } = layer;
    const blob = firstOf(disks, (disk) => disk.blob(descriptor));
    if (blob !== undefined) kept.push([descriptor.digest, blob]);
    else if (descriptor.digest === (diffID as string)) {
      const tar = await tarOf(layer, disks);
      if (tar.sizeBytes !== descriptor.sizeBytes)
        throw new PreloaderError(
          'DISK_INVALID',
          `${disks[0]?.path ?? ''}: layer ${layer.chain}: expected ${descriptor.sizeBytes} bytes, as its manifest says, found ${tar.sizeBytes}`,
        );
      kept.push([diffID, tar]);
    } else lostLayers += 1;
  }
  if (!target.isMade && lostLayers === 0)
    return {
      target: target.target,
      manifests: new Map(target.manifests.map(({ descriptor, bytes }) => [descriptor.digest, bytes])),
      layers: kept,
      lostLayers,
    };
  const tars: (readonly [string, TarContent])[] = [];
  for (const layer of target.layers) tars.push([layer.diffID, await tarOf(layer, disks)]);
  const made = makeImageManifest(
    image.config,
    tars.map(([digest, { sizeBytes }]) => ({ mediaType: layerMediaType('none'), digest, sizeBytes })),
  );
  return {
    target: made.descriptor,
    manifests: new Map([[made.descriptor.digest, made.bytes]]),
    layers: tars,
    lostLayers,
  };
}

/** The tar of a layer, of the first disk that has it. @throws PreloaderError if none has */
async function tarOf(layer: Parameters<ExportedDisk['tar']>[0], disks: readonly ExportedDisk[]): Promise<TarContent> {
  for (const disk of disks) {
    const tar = await disk.tar(layer);
    if (tar !== undefined) return tar;
  }
  const labels = [...new Set(disks.flatMap(({ bases }) => bases))];
  throw new PreloaderError(
    'DISK_INVALID',
    `${disks[0]?.path ?? ''}: expected layer ${layer.chain}, found it left out${labels.length === 0 ? '' : `: --base names the disk ${labels.join(' or ')}, which has it`}`,
  );
}

function firstOf<Item, Result>(items: readonly Item[], find: (item: Item) => Result | undefined): Result | undefined {
  for (const item of items) {
    const found = find(item);
    if (found !== undefined) return found;
  }
  return undefined;
}
