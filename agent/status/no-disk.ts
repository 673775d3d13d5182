import type { Config } from '../config/config.ts';
import { listNames } from '../text/plural.ts';

/** A message that no disk was found, for somebody who has just attached one. */
export function noDisk({ labels, required }: Config): string {
  const wanted = [...required.map(({ pattern }) => pattern), ...labels];
  const which =
    wanted.length === 0
      ? '`labels` is empty'
      : `no attached device has a label that matches ${listNames([...new Set(wanted)])}`;
  return `no preload disk found: ${which}; look at: lsblk -o NAME,LABEL,SIZE`;
}
