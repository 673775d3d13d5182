import type { AttachedDisk } from './attached-disk.ts';
import { invalid } from './attached-disk.ts';

/** Characters that a terminal would obey, or that a text has for its lines. */
// oxlint-disable-next-line no-control-regex -- it looks for control characters
const UNSEEN = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** A word for a shell. It has no newline, unless the word has one. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`;
}

/** The words of a command, an option with its values a line, so that a shell takes all of them together. */
export function shellLines(words: readonly string[]): string {
  const lines: string[] = [];
  for (const word of words)
    if (word.startsWith('--') || /^-[a-z]/.test(word) || lines.length === 0) lines.push(shellWord(word));
    else lines.push(`${lines.pop() ?? ''} ${shellWord(word)}`);
  return `${lines.join(' \\\n')}\n`;
}

/** JSON in ASCII, without a character that means something to a shell within quotes, to XML, or to a terminal. */
export function plainJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    // oxlint-disable-next-line no-control-regex -- all but printable ASCII
    /[^\u0020-\u007e]|['<&]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A text for XML, in an attribute or not. @throws PreloaderError DISK_INVALID for what XML cannot hold */
export function xmlText(disk: AttachedDisk, text: string): string {
  // XML 1.0 has no other control characters (section 2.2, Char).
  // oxlint-disable-next-line no-control-regex -- it looks for control characters
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/.test(text))
    throw invalid(disk.path, 'expected a path that XML can hold, found control characters in it: make a link to it');
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&apos;')
    .replaceAll(UNSEEN, (character) => `&#${character.charCodeAt(0)};`);
}

/** A text for Ruby. */
export function rubyText(text: string): string {
  return `'${text.replaceAll('\\', String.raw`\\`).replaceAll("'", String.raw`\'`)}'`;
}

/** Whether a path has only characters that are seen, on one line. */
export function isPlain(text: string): boolean {
  return text.search(UNSEEN) === -1;
}
