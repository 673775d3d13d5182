import path from 'node:path';
import { environment } from '../system/environment.ts';

/**
 * A path as it was typed. npm runs scripts in the repository's folder, wherever it is called, and says where that was.
 */
export function fromWhereTyped(words: string): string {
  return path.resolve(environment()['INIT_CWD'] ?? '.', words);
}
