/** ext4 has room for 16 bytes, erofs for 15. */
const LABEL = /^[A-Za-z0-9][A-Za-z0-9._-]{0,15}$/;
const GLOB = /^[A-Za-z0-9*?][A-Za-z0-9._*?-]{0,31}$/;

/**
 * Whether a filesystem's label can be that of a preload disk. It becomes the name of a folder, so nothing in it may
 * lead anywhere else.
 */
export function isLabel(text: string): boolean {
  return LABEL.test(text);
}

/** Whether the text is a glob rather than a name. */
export function isGlob(text: string): boolean {
  return /[*?]/.test(text);
}

/** Compiles a label or glob (`*` any characters, `?` one). Undefined if it is neither. */
export function labelPattern(text: string): RegExp | undefined {
  if (!GLOB.test(text) || (!isGlob(text) && !LABEL.test(text))) return undefined;
  const source = text
    .replaceAll('.', String.raw`\.`)
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 's');
}
