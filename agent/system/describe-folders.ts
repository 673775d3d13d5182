import { statSync } from 'node:fs';
import { messageOf } from './errors.ts';
import { existingPart } from './read-files.ts';

/** When a name in these folders was last made, removed or replaced, to be compared with another time. */
export function timesOf(folders: readonly string[]): string {
  return describe(folders, (folder) => {
    const { ino, ctimeMs } = statSync(folder);
    return `${ino} ${ctimeMs}`;
  });
}

/** Which folders are at these paths, or nearest above them, to be compared with another time. */
export function whichAre(folders: readonly string[]): string {
  return describe(folders, (folder) => {
    const { dev, ino } = statSync(existingPart(folder));
    return `${dev} ${ino}`;
  });
}

function describe(folders: readonly string[], what: (folder: string) => string): string {
  return folders
    .map((folder) => {
      try {
        return what(folder);
      } catch (error) {
        return messageOf(error);
      }
    })
    .join(', ');
}
