import { sha256Bytes } from '../system/digest.ts';
import { isSha256Digest } from '../text/sha256-digest.ts';

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** `sha256:` and 64 hex digits: the digest of an image's configuration, which is the image's ID. */
export type ImageID = Branded<'ImageID'>;
/** The digest of a layer's uncompressed tar. */
export type DiffID = Branded<'DiffID'>;
/** The digest of a layer and all below it, which is its key in dockerd's layer store. */
export type ChainID = Branded<'ChainID'>;

/** Whether the text is a sha256 digest as dockerd writes it. */
export function isDigest(text: unknown): text is string {
  return typeof text === 'string' && isSha256Digest(text);
}

export function asImageID(text: unknown): ImageID | undefined {
  return isDigest(text) ? (text as ImageID) : undefined;
}

export function asChainID(text: unknown): ChainID | undefined {
  return isDigest(text) ? (text as ChainID) : undefined;
}

export function asDiffID(text: unknown): DiffID | undefined {
  return isDigest(text) ? (text as DiffID) : undefined;
}

/** The 64 hex digits, which dockerd names files and folders by. */
export function hexOf(digest: string): string {
  return digest.slice('sha256:'.length);
}

export function sha256(content: string | Buffer): string {
  return `sha256:${sha256Bytes(content).toString('hex')}`;
}

/**
 * The ChainIDs of an image's layers, base first. That of the base layer is its DiffID, and each other one is the sha256
 * of `<ChainID below> <DiffID>` (OCI image spec, "Layer ChainID").
 */
export function chainIDs(diffIDs: readonly DiffID[]): ChainID[] {
  const chains: ChainID[] = [];
  for (const diffID of diffIDs) {
    const below = chains.at(-1);
    chains.push((below === undefined ? diffID : sha256(`${below} ${diffID}`)) as string as ChainID);
  }
  return chains;
}
