import { sha256 } from '../docker/ids.ts';
import type { Descriptor } from '../docker/image-manifest.ts';
import { isRecord } from '../text/is-record.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { describeValue } from '../text/parse-json.ts';
import {
  checkShape,
  listOf,
  objectOf,
  optional,
  recordOf,
  sha256Digest as digest,
  text,
  whole,
} from '../text/shape.ts';
import { MAX_MANIFEST_BYTES } from './limits.ts';
import type { FilesystemReader } from './filesystem-reader.ts';
import { parseUntrusted } from '../text/parse-untrusted.ts';

/** The format of disks that this program writes, major.minor. */
export const FORMAT_VERSION = '1.1';
export const MANIFEST_NAME = 'docker-preloader.json';

/**
 * docker-preloader.json, in the root of a disk that `build` made. A newer minor version may have more in it.
 */
export interface Manifest {
  readonly formatVersion: string;
  /** `docker-preloader` and its version. */
  readonly createdBy: string;
  /** If two disks have the same tag, the one with the higher priority gets it. */
  readonly priority: number;
  /** `layers`: ChainIDs, base first. */
  readonly images: readonly {
    readonly id: string;
    readonly references: readonly string[];
    readonly layers: readonly string[];
    /** Since 1.1: what the image is in containerd's store. Most images have one. */
    readonly targets?: readonly ManifestTarget[];
  }[];
  readonly layers: readonly ManifestLayer[];
  /** Since 1.1: layers as a registry has them, as files `blobs/sha256/<hex>`. Their names are their digests. */
  readonly blobs?: readonly Pick<Descriptor, 'digest' | 'sizeBytes'>[];
  /** Since 1.1: files of which a copy of the disk in a folder must have what not every filesystem passes on. */
  readonly samples?: readonly Sample[];
  /** Each metadata file of the disk by its path, with its sha256. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Other disks with layers that this one leaves out. */
  readonly bases: readonly { readonly label: string; readonly manifest: string; readonly layers: readonly string[] }[];
}

/** A file of a layer: a whiteout, or one with this extended attribute, or this owner. */
export interface Sample {
  /** As a latin1 string of its bytes. */
  readonly path: string;
  readonly xattr?: string;
  /** `uid:gid`. */
  readonly owner?: string;
}

/** A manifest that an image has in containerd's store, and under which tags. */
export interface ManifestTarget {
  readonly references: readonly string[];
  /**
   * The indexes that lead to the image's manifest, the outermost first, and that manifest: `manifests/sha256/<hex>`.
   */
  readonly path: readonly Descriptor[];
}

/** A manifest with the digest of its bytes. */
export interface FoundManifest {
  readonly manifest: Manifest;
  readonly digest: string;
}

/** A layer's record, as the files of layerdb have it. */
export interface ManifestLayer {
  readonly chainId: string;
  readonly diffId: string;
  readonly parent?: string;
  readonly cacheId: string;
  readonly sizeBytes: number;
}

const shape = objectOf({
  formatVersion: text,
  createdBy: text,
  priority: optional(whole),
  images: listOf(
    objectOf({
      id: digest,
      references: listOf(text),
      layers: listOf(digest),
      targets: optional(
        listOf(
          objectOf({
            references: listOf(text),
            path: listOf(objectOf({ mediaType: text, digest, sizeBytes: whole })),
          }),
        ),
      ),
    }),
  ),
  layers: listOf(
    objectOf({ chainId: digest, diffId: digest, parent: optional(digest), cacheId: text, sizeBytes: whole }),
  ),
  blobs: optional(listOf(objectOf({ digest, sizeBytes: whole }))),
  samples: optional(listOf(objectOf({ path: text, xattr: optional(text), owner: optional(text) }))),
  metadata: recordOf(digest),
  bases: optional(listOf(objectOf({ label: text, manifest: digest, layers: listOf(digest) }))),
});

/**
 * Reads a disk's manifest. Undefined if it has none, because dockerd filled it.
 * @throws PreloaderError FORMAT_NEWER (it is then not to be read as a disk without manifest) or MANIFEST_INVALID
 */
export function readManifest(files: Pick<FilesystemReader, 'read'>): FoundManifest | undefined {
  const bytes = readManifestBytes(files);
  return bytes === undefined ? undefined : parseManifest(bytes);
}

/** A manifest's bytes, whatever they are. @throws PreloaderError MANIFEST_INVALID if it cannot be read */
export function readManifestBytes(files: Pick<FilesystemReader, 'read'>): Buffer | undefined {
  try {
    return files.read(MANIFEST_NAME, MAX_MANIFEST_BYTES);
  } catch (error) {
    throw new PreloaderError('MANIFEST_INVALID', messageOf(error), { cause: error });
  }
}

/** Parses a manifest's bytes, of that digest. @throws PreloaderError FORMAT_NEWER or MANIFEST_INVALID */
export function parseManifest(bytes: Buffer, digestOfBytes: string = sha256(bytes)): FoundManifest {
  try {
    const document = parseUntrusted(bytes.toString('utf8'));
    refuseNewerMajor(document, MANIFEST_NAME, FORMAT_VERSION);
    checkShape(document, shape);
    return {
      manifest: { priority: 0, bases: [], ...(document as Omit<Manifest, 'priority' | 'bases'>) },
      digest: digestOfBytes,
    };
  } catch (error) {
    if (error instanceof PreloaderError) throw error;
    throw new PreloaderError('MANIFEST_INVALID', `${MANIFEST_NAME}: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Refuses a file of a newer major format, whose meaning is not known here. A newer minor one is read.
 * @param ours the major.minor that this program writes
 * @throws PreloaderError FORMAT_NEWER; Error if there is no version at all
 */
export function refuseNewerMajor(document: unknown, name: string, ours: string): void {
  const version = isRecord(document) ? document['formatVersion'] : undefined;
  const match = typeof version === 'string' ? /^(\d{1,6})\.\d{1,6}$/.exec(version) : null;
  if (match === null) throw new Error(`\`formatVersion\`: expected major.minor, found ${describeValue(version)}`);
  const [supported] = ours.split('.');
  if (Number(match[1]) > Number(supported)) {
    throw new PreloaderError(
      'FORMAT_NEWER',
      `${name}: expected format ${supported}, found ${String(version)}: a newer docker-preloader is needed`,
    );
  }
}
