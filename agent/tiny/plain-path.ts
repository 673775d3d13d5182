import { door } from './door.ts';

/** agent/text/plain-path.ts. On this engine, a pattern would take some thousand instructions for each path. */
export function isPlainPath(path: string): boolean {
  return door.isPlainPath(path);
}
