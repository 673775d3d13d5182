/** One part of a man page, man(7). */
export type Block =
  | { readonly kind: 'section' | 'subsection' | 'paragraph'; readonly text: string }
  | { readonly kind: 'item'; readonly term: string; readonly text: string }
  | { readonly kind: 'example'; readonly lines: readonly string[] };

export interface ManPage {
  readonly title: string;
  readonly section: 5 | 8;
  readonly date: Date;
  readonly source: string;
  readonly manual: string;
  readonly blocks: readonly Block[];
}

/** A man page's source. In texts, `code` between backticks is set bold. */
export function manPage({ title, section, date, source, manual, blocks }: ManPage): string {
  const head = `.TH ${[quoted(title.toUpperCase()), section, date.toISOString().slice(0, 10), quoted(source), quoted(manual)].join(' ')}`;
  return `${[head, '.nh', ...blocks.flatMap((block, index) => lines(block, blocks[index - 1]))].join('\n')}\n`;
}

function lines(block: Block, before: Block | undefined): string[] {
  switch (block.kind) {
    case 'section':
      return [`.SH ${quoted(block.text)}`];
    case 'subsection':
      return [`.SS ${quoted(block.text)}`];
    case 'paragraph':
      // A heading begins a paragraph by itself.
      return [...(before?.kind === 'section' || before?.kind === 'subsection' ? [] : ['.PP']), ...text(block.text)];
    case 'item':
      return ['.TP', `.B ${quoted(block.term)}`, ...text(block.text)];
    case 'example':
      return [
        ...(before?.kind === 'section' ? [] : ['.PP']),
        '.in +4n',
        '.EX',
        ...block.lines.map((line) => guarded(escaped(line))),
        '.EE',
        '.in',
      ];
  }
}

/** One sentence on each line, as man(7) wants it. No line may begin like a request. */
function text(content: string): string[] {
  return content
    .split('\n')
    .flatMap((line) => line.split(/(?<=[.:;]) (?=[A-Z`])/))
    .map((line) => guarded(bold(line)));
}

function bold(line: string): string {
  return line
    .split('`')
    .map((part, index) => (index % 2 === 1 ? `\\fB${escaped(part)}\\fR` : escaped(part)))
    .join('');
}

/** Minus signs can still be copied into a shell. Characters outside ASCII become their names in groff_char(7). */
function escaped(line: string): string {
  return line
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll("'", '\\(aq')
    .replaceAll('`', '\\(ga')
    .replaceAll('^', '\\(ha')
    .replaceAll('~', '\\(ti')
    .replaceAll('…', '\\&...');
}

function guarded(line: string): string {
  return /^[.']/.test(line) ? `\\&${line}` : line;
}

function quoted(word: string): string {
  return `"${escaped(word.replaceAll('`', '')).replaceAll('"', '\\(dq')}"`;
}
