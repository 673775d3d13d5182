import { readTree } from '../disk/read-disk.ts';
import { openDisk } from '../disk/open-disk.ts';

/**
 * Reads a disk that is just made as the agent will: what it would leave out is no disk to hand over. What its limits
 * are, its reader knows. @throws Error with the first thing that it found
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
