import { parseRequired, type RequiredDisk } from '../../agent/config/required.ts';

/** Entries of `required`, as the configuration has them once it is read. */
export const required = (...texts: readonly string[]): RequiredDisk[] =>
  texts.map((text) => {
    const entry = parseRequired(text);
    if (entry === undefined) throw new Error(`expected an entry of \`required\`, found '${text}'`);
    return entry;
  });
