/** A word, quoted for a shell. */
export function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** A command that makes a file with these lines, and its folder. */
export function writeFile(path: string, lines: readonly string[]): string {
  const folder = path.slice(0, path.lastIndexOf('/'));
  return `mkdir -p ${quoted(folder)} && printf '%s\\n' ${lines.map(quoted).join(' ')} > ${quoted(path)}`;
}
