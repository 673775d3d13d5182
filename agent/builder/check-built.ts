import { readImageTargets } from '../disk/image-targets.ts';
import { readDisk } from '../disk/read-disk.ts';
import { faultsOf } from '../disk/read-whole-disk.ts';
import { openDisk } from '../disk/open-disk.ts';

/**
 * Reads a disk that has just been made with the agent's own reader and limits. A disk of which the agent would leave
 * something out is not handed over.
 * @throws Error with the first finding
 */
export function checkBuilt(path: string): void {
  const { files } = openDisk(path);
  try {
    const content = readDisk('', files);
    const [fault, ...more] = [...faultsOf(content), ...faultsOf(readImageTargets(content, files))];
    if (fault !== undefined)
      throw new Error(
        `expected a disk that the agent takes whole, found ${fault}${more.length === 0 ? '' : `, and ${more.length} more`}`,
      );
  } finally {
    files.close();
  }
}
