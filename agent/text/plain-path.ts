/**
 * Whether a path is ASCII, and has no name that is empty or begins with a dot. That is so for nearly all, and then
 * nothing in it has to be resolved. It is called some three times for each file. The small engine is slow at patterns,
 * and has another file for this.
 */
export function isPlainPath(path: string): boolean {
  return /^\/?[^./\u0080-\uffff][^/\u0080-\uffff]*(?:\/[^./\u0080-\uffff][^/\u0080-\uffff]*)*$/.test(path);
}
