import type { ImageConfig } from '../docker/image-config.ts';
import type { Archive } from './archive.ts';

/** Where a layer's tar, compressed or not, is found. */
export interface LayerSource {
  readonly archive: Archive;
  readonly entry: string;
  /** sha256 of the bytes as they are there, where the archive tells it. */
  readonly blobDigest: string | undefined;
}

/** An image as an archive has it. */
export interface InputImage extends ImageConfig {
  readonly archive: Archive;
  readonly config: Buffer;
  /** Base first, one for each DiffID. */
  readonly sources: readonly LayerSource[];
  /** Familiar references with a tag. */
  readonly references: readonly string[];
  /** The manifest, and the indexes that lead to it, where a registry has the image by them. */
  readonly manifests: readonly RegistryManifest[];
}

/** A manifest or index, its bytes as the registry has them. */
export interface RegistryManifest {
  readonly digest: string;
  readonly bytes: Buffer;
}

/** `linux/amd64`, `linux/arm/v7`. */
export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant: string | undefined;
}

/** Go's names for this machine. */
export function machinePlatform(): Platform {
  const architectures: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', ia32: '386' };
  return { os: 'linux', architecture: architectures[process.arch] ?? process.arch, variant: undefined };
}

/** @throws Error where it is none */
export function parsePlatform(text: string): Platform {
  const match = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9.]+))?$/.exec(text);
  if (match === null) throw new Error(`a platform as in linux/amd64 or linux/arm/v7 expected, found '${text}'`);
  return { os: match[1] ?? '', architecture: match[2] ?? '', variant: match[3] };
}

export function describePlatform({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}
