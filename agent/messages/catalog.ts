import { codes } from './codes.ts';
import { events, messages, type EventName } from './events.ts';
import { wrap } from '../text/terminal.ts';
import { advice } from './advice.ts';

const WIDTH = 78;
const NO_BREAK = '\u00a0';

/** What each event means, in the words of the tables. */
function meaningOf(name: EventName): string {
  const { meaning }: { readonly meaning: string } =
    name in events ? events[name as keyof typeof events] : codes[name as keyof typeof codes];
  return meaning;
}

/**
 * The journal's message catalog (systemd's "Journal Message Catalogs"): what `journalctl -x` says below each entry.
 * Written to units/docker-preloader.catalog by `npm run generate`.
 */
export function catalogText(): string {
  const entries = (Object.keys(messages) as EventName[]).map((name) => {
    const meaning = meaningOf(name);
    return [
      `# ${name}`,
      `-- ${messages[name].id}`,
      // dockerd and docker.service keep their names.
      `Subject: ${meaning.startsWith('docker') ? meaning : meaning.charAt(0).toUpperCase() + meaning.slice(1)}`,
      'Defined-By: docker-preloader',
      'Support: file:/usr/share/doc/docker-preloader/README.md',
      '',
      ...paragraph(advice[name]),
    ].join('\n');
  });
  return `# Made from agent/messages/codes.ts, agent/messages/events.ts and agent/messages/advice.ts by \`npm run generate\`.\n\n${entries.join('\n\n')}\n`;
}

/** Broken into lines, but no command is: what stands in backticks can be copied. */
function paragraph(text: string): string[] {
  const held = text.replaceAll(/`[^`]*`/g, (command) => command.replaceAll(' ', NO_BREAK));
  return wrap(held, WIDTH, '').map((line) => line.replaceAll(NO_BREAK, ' '));
}

/** The table of codes in agent/status/README.md, in Markdown. */
export function codeTable(): string {
  const rows = Object.entries(codes).map(
    ([code, { effect, meaning }]) => `| \`${code}\` | ${effect === 'none' ? '' : effect} | ${meaning} |`,
  );
  return ['| code | makes the result | meaning |', '|---|---|---|', ...rows].join('\n');
}
