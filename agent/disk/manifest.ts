import * as z from 'zod/mini';
import { sha256 } from '../docker/ids.ts';
import { isRecord } from '../docker/json.ts';
import { messageOf, PreloaderError } from '../system/errors.ts';
import { parseJson } from '../system/parse.ts';
import type { DiskTree } from './tree.ts';

/** The format of disks and ledgers that this program writes, major.minor. */
export const FORMAT_VERSION = '1.0';
export const MANIFEST_NAME = 'docker-preloader.json';
/** Parsed, it takes ten times as much memory. */
export const MAX_MANIFEST_BYTES = 16 * 1024 * 1024;

const digest = z.string().check(z.regex(/^sha256:[0-9a-f]{64}$/, 'a sha256 digest'));

/**
 * docker-preloader.json, in the root of a disk that `build` made. Loose: a newer minor version may have more in it.
 */
const manifestSchema = z.looseObject({
  formatVersion: z.string(),
  /** `docker-preloader` and its version. */
  createdBy: z.string(),
  /** Of two disks with one tag, that of the higher priority has it. */
  priority: z._default(z.int(), 0),
  images: z.array(
    z.looseObject({
      id: digest,
      references: z.array(z.string()),
      /** ChainIDs, base first. */
      layers: z.array(digest),
    }),
  ),
  layers: z.array(
    z.looseObject({
      chainId: digest,
      diffId: digest,
      parent: z.optional(digest),
      cacheId: z.string(),
      sizeBytes: z.int(),
    }),
  ),
  /** Each metadata file of the disk by its path, with its sha256. */
  metadata: z.record(z.string(), digest),
  /** Disks that hold layers which this one leaves out. */
  bases: z._default(z.array(z.looseObject({ label: z.string(), manifest: digest, layers: z.array(digest) })), []),
});

export type Manifest = Readonly<z.infer<typeof manifestSchema>>;

/**
 * Reads a disk's manifest, or undefined where it has none: then it is one that dockerd filled.
 * @throws PreloaderError FORMAT_NEWER (it is then not to be read as a disk without manifest) or MANIFEST_INVALID
 */
export function readManifest(tree: DiskTree): { readonly manifest: Manifest; readonly digest: string } | undefined {
  let bytes: Buffer | undefined;
  try {
    bytes = tree.read(MANIFEST_NAME, MAX_MANIFEST_BYTES);
  } catch (error) {
    throw new PreloaderError('MANIFEST_INVALID', messageOf(error), { cause: error });
  }
  return bytes === undefined ? undefined : parseManifest(bytes);
}

/** Parses a manifest's bytes. @throws PreloaderError FORMAT_NEWER or MANIFEST_INVALID */
export function parseManifest(bytes: Buffer): { readonly manifest: Manifest; readonly digest: string } {
  const text = bytes.toString('utf8');
  try {
    refuseNewerMajor(text, MANIFEST_NAME);
    return { manifest: parseJson(text, manifestSchema), digest: sha256(bytes) };
  } catch (error) {
    if (error instanceof PreloaderError) throw error;
    throw new PreloaderError('MANIFEST_INVALID', `${MANIFEST_NAME}: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * Refuses a file of a newer major format: what it means is not known here. A newer minor one is read.
 * @throws PreloaderError FORMAT_NEWER; Error where there is no version at all
 */
export function refuseNewerMajor(text: string, name: string): void {
  const document: unknown = JSON.parse(text);
  const version = isRecord(document) ? document['formatVersion'] : undefined;
  const match = typeof version === 'string' ? /^(\d{1,6})\.\d{1,6}$/.exec(version) : null;
  if (match === null) throw new Error(`\`formatVersion\`: expected major.minor, found ${JSON.stringify(version) ?? 'nothing'}`);
  const [supported] = FORMAT_VERSION.split('.');
  if (Number(match[1]) > Number(supported)) {
    throw new PreloaderError('FORMAT_NEWER', `${name}: format ${supported} expected, found ${String(version)}: a newer docker-preloader is needed`);
  }
}
