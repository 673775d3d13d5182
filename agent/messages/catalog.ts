import { codes } from './codes.ts';
import { events, messages, type EventName } from './events.ts';
import { wrap } from '../text/terminal.ts';
import { advice } from './advice.ts';

const WIDTH = 78;
const NO_BREAK = '\u00a0';

/** What an event means, as the tables say it. */
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
      // dockerd and docker.service are names and stay lower-case.
      `Subject: ${meaning.startsWith('docker') ? meaning : meaning.charAt(0).toUpperCase() + meaning.slice(1)}`,
      'Defined-By: docker-preloader',
      'Support: file:/usr/share/doc/docker-preloader/README.md',
      '',
      ...paragraph(advice[name]),
    ].join('\n');
  });
  return `# Made from agent/messages/codes.ts, agent/messages/events.ts and agent/messages/advice.ts by \`npm run generate\`.\n\n${entries.join('\n\n')}\n`;
}

/** Breaks a text into lines, but never inside backticks, so that commands can be copied. */
function paragraph(text: string): string[] {
  const held = text.replaceAll(/`[^`]*`/g, (command) => command.replaceAll(' ', NO_BREAK));
  return wrap(held, WIDTH, '').map((line) => line.replaceAll(NO_BREAK, ' '));
}

/** The table of codes for agent/status/README.md, in Markdown. */
export function codeTable(): string {
  const rows = Object.entries(codes).map(
    ([code, { effect, meaning }]) => `| \`${code}\` | ${effect === 'none' ? '' : effect} | ${meaning} |`,
  );
  return ['| code | makes the result | meaning |', '|---|---|---|', ...rows].join('\n');
}
