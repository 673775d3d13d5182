import { isGlob, labelPattern } from './label.ts';
import { parseRequired, type Config } from './config.ts';

/**
 * The manifest digests of which a disk with this label must have one; undefined where none is pinned for it. Where the
 * label itself is pinned, what globs pin does not count for it.
 */
export function requiredDigests({ required }: Pick<Config, 'required'>, label: string): readonly string[] | undefined {
  const pins = required.flatMap((entry) => {
    const { pattern, digest } = parseRequired(entry) ?? {};
    const isMeant = pattern !== undefined && labelPattern(pattern)?.test(label) === true;
    return isMeant && digest !== undefined ? [{ digest, byName: !isGlob(pattern) }] : [];
  });
  const named = pins.filter(({ byName }) => byName);
  const digests = (named.length > 0 ? named : pins).map(({ digest }) => digest);
  return digests.length === 0 ? undefined : digests;
}
