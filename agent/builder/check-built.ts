import { readTree } from '../disk/read-disk.ts';
import { openDisk } from '../disk/open-disk.ts';

/**
 * Reads a disk that has just been made with the agent's own reader and limits. A disk of which the agent would leave
 * something out is not handed over.
 * @throws Error with the first finding
 */
export function checkBuilt(path: string): void {
  const { tree, files } = openDisk(path);
  try {
    const [finding, ...more] = readTree('', tree).findings;
    if (finding !== undefined)
      throw new Error(
        `expected a disk that the agent takes whole, found ${finding.message.replace(/^disk : /, '')}${more.length === 0 ? '' : `, and ${more.length} more`}`,
      );
  } finally {
    files.close();
  }
}
