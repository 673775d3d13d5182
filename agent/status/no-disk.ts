import type { Config } from '../config/config.ts';
import { listNames } from '../text/plural.ts';

/** A message that no disk was found, for somebody who has just attached one. */
export function noDisk({ labels, required, sources }: Config): string {
  const wanted = [...required.map(({ pattern }) => pattern), ...labels];
  const which =
    wanted.length === 0
      ? '`labels` is empty'
      : `no attached device has a label that matches ${listNames([...new Set(wanted)])}`;
  const folders = sources.length === 0 ? '' : `, and no folder is where \`sources\` says`;
  return `no preload disk found: ${which}${folders}; look at: lsblk -o NAME,LABEL,SIZE`;
}
