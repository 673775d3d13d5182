import { asDiffID, chainIDs, sha256, type ChainID, type DiffID, type ImageID } from './ids.ts';
import { isRecord } from '../text/is-record.ts';
import { parseUntrusted } from '../text/parse-untrusted.ts';

/** The part of an image's configuration that we need: its layers. */
export interface ImageConfig {
  readonly id: ImageID;
  readonly diffIDs: readonly DiffID[];
  /** ChainID of each layer, base first. */
  readonly chains: readonly ChainID[];
}

/**
 * The time of modification that we give to configurations that we write. dockerd writes the file again whenever an
 * image is loaded, pulled or built (moby, image/fs.go, Set). So with any other time the image is the user's, whatever
 * names it has and whosever its layers are. This is the day on which docker 18.09.0 came out.
 */
export const OWN_IMAGE_SEC = Date.UTC(2018, 10, 8) / 1000;

/** dockerd stacks at most this many layers (moby, layer/layer_store.go, maxLayerDepth). */
const MAX_LAYERS = 125;
/** Configurations have a few KiB, so this is far above any. */
export const MAX_CONFIG_BYTES = 8 * 1024 * 1024;

/**
 * Parses an image's configuration and checks it against its ID, as dockerd does at each read (moby, image/fs.go, get).
 * @throws Error with what was expected and what was found
 */
export function parseImageConfig(bytes: Buffer, id: ImageID): ImageConfig {
  const digest = sha256(bytes);
  if (digest !== id) throw new Error(`expected a configuration with digest ${id}, found ${digest}`);
  return readLayers(bytes, id);
}

/** Does the same without checking the digest, for what dockerd itself wrote. @throws Error */
export function readLayers(bytes: Buffer, id: ImageID): ImageConfig {
  const config = parseUntrusted(bytes.toString('utf8'));
  const rootfs = isRecord(config) ? config['rootfs'] : undefined;
  if (!isRecord(rootfs)) throw new Error('expected an image configuration with `rootfs`, found none');
  const list = rootfs['diff_ids'] ?? [];
  if (!Array.isArray(list)) throw new Error('`rootfs.diff_ids`: expected an array, found something else');
  if (list.length > MAX_LAYERS) throw new Error(`expected at most ${MAX_LAYERS} layers, found ${list.length}`);
  const diffIDs = list.map((entry: unknown) => {
    const diffID = asDiffID(entry);
    if (diffID === undefined) throw new Error('`rootfs.diff_ids`: expected sha256 digests, found something else');
    return diffID;
  });
  return { id, diffIDs, chains: chainIDs(diffIDs) };
}
