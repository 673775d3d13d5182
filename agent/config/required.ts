import { isSha256Digest } from '../text/sha256-digest.ts';
import { isGlob, labelPattern } from './label.ts';

/** An entry of `required`: a label or glob that must be there, perhaps with the digest of its manifest. */
export interface RequiredDisk {
  readonly pattern: string;
  readonly digest: string | undefined;
  /** As it is written in the configuration. */
  readonly text: string;
}

/** Parses `label`, `glob*` or `label@sha256:…`. Undefined if it is none of these. */
export function parseRequired(text: string): RequiredDisk | undefined {
  const [pattern = '', digest, ...rest] = text.split('@');
  if (rest.length > 0 || labelPattern(pattern) === undefined) return undefined;
  if (digest !== undefined && !isSha256Digest(digest)) return undefined;
  return { pattern, digest, text };
}

/**
 * The manifest digests of which a disk with this label must have one. Undefined if none is pinned for it. If the label
 * itself is pinned, what globs pin does not count.
 */
export function requiredDigests(required: readonly RequiredDisk[], label: string): readonly string[] | undefined {
  const pins = required.flatMap(({ pattern, digest }) =>
    digest !== undefined && labelPattern(pattern)?.test(label) === true ? [{ digest, byName: !isGlob(pattern) }] : [],
  );
  const named = pins.filter(({ byName }) => byName);
  const digests = (named.length > 0 ? named : pins).map(({ digest }) => digest);
  return digests.length === 0 ? undefined : digests;
}
