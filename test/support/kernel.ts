import { release } from 'node:os';

/**
 * Why what is in memory cannot be asked for on this kernel, which needs cachestat(2); false where it can: for a test's
 * `skip`.
 */
export function hidesPageCache(): string | false {
  const [major = 0, minor = 0] = release().split('.').map(Number);
  return major > 6 || (major === 6 && minor >= 5)
    ? false
    : `only Linux 6.5 and later tell what is in memory, this is ${release()}`;
}
