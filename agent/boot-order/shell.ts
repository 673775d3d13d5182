/** A word as a shell takes it. */
export function quoted(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** A command that makes a file of these lines, with its folder. */
export function writeFile(path: string, lines: readonly string[]): string {
  const folder = path.slice(0, path.lastIndexOf('/'));
  return `mkdir -p ${quoted(folder)} && printf '%s\\n' ${lines.map(quoted).join(' ')} > ${quoted(path)}`;
}
