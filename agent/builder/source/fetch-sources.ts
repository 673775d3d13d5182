import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ChainID } from '../../docker/ids.ts';
import { parseImageManifest, type Descriptor } from '../../docker/image-manifest.ts';
import { messageOf, PreloaderError } from '../../system/errors.ts';
import { requireTool } from '../../system/run-tool.ts';
import { megabytes } from '../../text/megabytes.ts';
import { plural } from '../../text/plural.ts';
import type { Progress } from '../../text/progress.ts';
import type { Archive } from '../archive/archive.ts';
import { archiveError } from '../archive/archive-error.ts';
import type { ArchiveArgument } from '../archive/archive-argument.ts';
import { describeSource, type RegistrySource } from '../archive/image-source.ts';
import { openTar } from '../archive/open-archive.ts';
import type { PlatformChoice } from '../archive/platform.ts';
import { readImages } from '../archive/read-images.ts';
import type { Workplace } from '../workplace.ts';
import { BlobReceiver, type ReceiverAddress } from './blob-receiver.ts';
import { RegistryImage } from './registry-image.ts';
import { ImageClients, type RegistryAccess, type TalkLimits } from './image-clients.ts';
import { persist } from './client-fault.ts';

/** What decides what is fetched. */
export interface FetchOptions {
  readonly archives: readonly ArchiveArgument[];
  readonly choice: PlatformChoice;
  readonly access: RegistryAccess;
  /** The layers of these are not fetched. */
  readonly bases: readonly { readonly layers: readonly string[] }[];
}

export interface FetchedSource {
  readonly archive: Archive;
  /** The digest that a registry's name leads to. */
  readonly digest: string | undefined;
}

/** An image of a registry, and which of its layers are to be fetched. */
interface WantedImage {
  readonly image: RegistryImage;
  /** The digest of its manifest for the platform. */
  readonly manifest: string;
  readonly layers: readonly Descriptor[];
}

/** Fetches what the sources name, with skopeo and docker, into the workplace. */
export class SourceFetcher {
  readonly #options: FetchOptions;
  readonly #workplace: Workplace;
  readonly #progress: Progress;
  readonly #limits: TalkLimits | undefined;
  #clients: ImageClients | undefined;
  #receiver: BlobReceiver | undefined;

  constructor(options: FetchOptions, workplace: Workplace, progress: Progress, limits?: TalkLimits) {
    this.#options = options;
    this.#workplace = workplace;
    this.#progress = progress;
    this.#limits = limits;
  }

  /**
   * What each source has, as it was written without a name; nothing for archives. First it is found out what all of
   * them are, each once, then their layers are fetched, each once.
   * @throws PreloaderError
   */
  async fetch(): Promise<ReadonlyMap<string, FetchedSource>> {
    const fetched = new Map<string, FetchedSource>();
    const sources = new Map(
      this.#options.archives.flatMap(({ path, source }) => (source === undefined ? [] : [[path, source] as const])),
    );
    if (sources.size === 0) return fetched;
    for (const source of sources.values())
      requireTool(source.kind === 'store' && source.store === 'docker' ? 'docker' : 'skopeo');
    // The clients run there.
    const folder = resolve(this.#workplace.path('sources'));
    mkdirSync(folder);
    const tell = (text: string): void => this.#progress.step(text);
    const clients = (this.#clients = new ImageClients(folder, this.#options.access, tell, this.#limits));
    const wanted = new Map<string, WantedImage>();
    for (const [index, [path, source]] of [...sources].entries()) {
      this.#progress.step(`asking for ${describeSource(source)}`);
      if (source.kind === 'registry') wanted.set(path, await this.#find(source, clients, `${folder}/${index}`));
      else {
        const file = `saved-${index}`;
        await clients.save(source, file);
        fetched.set(path, { archive: await openTar(path, `${folder}/${file}`), digest: undefined });
      }
    }
    if (wanted.size === 0) return fetched;
    const receiver = (this.#receiver = new BlobReceiver(`${folder}/blobs`));
    const address = await receiver.listen(`${folder}/auth.json`);
    const all = new Map([...wanted.values()].flatMap(({ layers }) => layers.map(sizeByDigest)));
    const rest = (): number => [...all].reduce((sum, [digest, size]) => sum + (receiver.hasBlob(digest) ? 0 : size), 0);
    this.#progress.expect(rest());
    for (const [path, one] of wanted) {
      await this.#fetchLayers(one, clients, receiver, address, rest);
      const blobs = one.layers.map(({ digest }) => [digest, receiver.blob(digest)] as const);
      fetched.set(path, { archive: one.image.withLayers(new Map(blobs)), digest: one.image.digest });
    }
    this.stop();
    return fetched;
  }

  /** Ends what is still running. */
  stop(): void {
    this.#clients?.stop();
    this.#receiver?.close();
  }

  /** Which manifest a source leads to, and which of its layers no base disk has. */
  async #find(source: RegistrySource, clients: ImageClients, folder: string): Promise<WantedImage> {
    mkdirSync(folder);
    const image = await RegistryImage.resolve(source, clients, folder);
    const { images } = await readImages(image, this.#options.choice);
    const [found] = images;
    const manifest = found?.manifests.at(-1);
    if (found === undefined || manifest === undefined) throw archiveError(image.name, 'expected an image, found none');
    const known = new Set<string>(this.#options.bases.flatMap(({ layers }) => layers));
    return { image, manifest: manifest.digest, layers: missing(image, manifest.bytes, found.chains, known) };
  }

  /** @param rest how many bytes of all layers are to come */
  async #fetchLayers(
    { image, manifest, layers }: WantedImage,
    clients: ImageClients,
    receiver: BlobReceiver,
    { address, authFile }: ReceiverAddress,
    rest: () => number,
  ): Promise<void> {
    const todo = (): Descriptor[] => layers.filter(({ digest }) => !receiver.hasBlob(digest));
    let isAgain = false;
    const copy = async (): Promise<void> => {
      const missing = todo();
      const bytes = missing.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      if (isAgain) this.#progress.expect(rest());
      isAgain = true;
      if (missing.length > 0)
        this.#progress.step(`fetching ${plural(missing.length, 'layer')} of ${image.name}, ${megabytes(bytes)}`);
      receiver.expect({
        blobs: new Map(missing.map(sizeByDigest)),
        onBytes: (count) => this.#progress.read(count),
      });
      try {
        const copying = { from: image.imageAt(manifest), to: `docker://${address}/build:latest`, toAuthFile: authFile };
        await clients.copy(image.name, copying);
      } catch (error) {
        if (receiver.fault !== undefined) throw receiver.fault;
        if (receiver.refused === undefined) throw error;
        throw new PreloaderError('BUILD_FAILED', `${image.name}: ${receiver.refused}`, { cause: error });
      }
      const [lacking] = todo();
      if (lacking !== undefined)
        throw new PreloaderError(
          'BUILD_FAILED',
          `${image.name}: expected the layer ${lacking.digest}, found that its manifest sends elsewhere for it`,
        );
    };
    // Also without any layer, because a copy is what skopeo's policy has to allow. What has come is not lost when it
    // fails.
    await persist(
      copy,
      (text) => this.#progress.step(text),
      () => layers.length - todo().length,
    );
  }
}

function sizeByDigest({ digest, sizeBytes }: Descriptor): readonly [string, number] {
  return [digest, sizeBytes];
}

/** The layers of a manifest, each once, without those that belong to a chain that is known. */
function missing(
  image: RegistryImage,
  manifest: Buffer,
  chains: readonly ChainID[],
  known: ReadonlySet<string>,
): Descriptor[] {
  try {
    const { layers } = parseImageManifest(manifest);
    const needed = layers.filter((_, index) => !known.has(chains[index] ?? ''));
    return [...new Map(needed.map((layer) => [layer.digest, layer])).values()];
  } catch (error) {
    throw archiveError(image.name, messageOf(error), error);
  }
}
