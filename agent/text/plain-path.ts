/**
 * Whether a path is ASCII, and has no name that is empty or begins with a dot, as nearly all: then nothing in it is to be
 * resolved. Each file is asked for some three times: where looking through a text is slow, this is another file.
 */
export function isPlainPath(path: string): boolean {
  return /^\/?[^./\u0080-\uffff][^/\u0080-\uffff]*(?:\/[^./\u0080-\uffff][^/\u0080-\uffff]*)*$/.test(path);
}
