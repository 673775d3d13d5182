import * as z from 'zod/mini';
import { ask } from './ask.ts';
import { FILLER, WITH_OWN_CONTAINERD } from '../containerd/filler-unit.ts';
import { AGENT, CONTAINERD, DOCKER, DOCKER_SOCKET, KUBELET, type BootDocument } from './boot-document.ts';

/** SD_MESSAGE_UNIT_STARTING and SD_MESSAGE_UNIT_STARTED (systemd, sd-messages.h). */
const STARTING = '7d4958e842da4a758f6c1cdc7b36dcc5';
const STARTED = '39f53479d3a045ac8e11786248231fbf';
const UNITS = [DOCKER, DOCKER_SOCKET, CONTAINERD, AGENT, FILLER, KUBELET, ...WITH_OWN_CONTAINERD];

const entry = z.object({
  __MONOTONIC_TIMESTAMP: z.string(),
  MESSAGE_ID: z.optional(z.string()),
  UNIT: z.optional(z.string()),
  MESSAGE: z.optional(z.string()),
});

/** What only the journal knows: ordering cycles, and first starts, even of units that were restarted since. */
export type JournalFacts = Pick<BootDocument, 'firstStarts' | 'cycleMessages'>;

/** Reads the service manager's entries of this boot. */
export async function readJournal(notes: string[]): Promise<JournalFacts> {
  const answer = await ask('journalctl', [
    '--boot',
    '--quiet',
    '--no-pager',
    '--output=json',
    '--output-fields=MESSAGE_ID,UNIT,MESSAGE',
    '_PID=1',
    `MESSAGE_ID=${STARTING}`,
    `MESSAGE_ID=${STARTED}`,
    ...UNITS.map((unit) => `UNIT=${unit}`),
    '+',
    '_PID=1',
    'PRIORITY=3',
    'PRIORITY=4',
    // Before journald runs, the manager's messages go through the kernel's log.
    '+',
    '_TRANSPORT=kernel',
    'SYSLOG_IDENTIFIER=systemd',
  ]);
  if ('problem' in answer) {
    notes.push(`first starts and cycles: ${answer.problem}`);
    return { firstStarts: [], cycleMessages: [] };
  }
  // Without permission to read the system's journal, journalctl prints nothing.
  if (answer.text === '')
    notes.push(
      'first starts and cycles: the journal shows nothing of this boot; run it as root, or as a member of the group systemd-journal',
    );
  return parseJournal(answer.text);
}

/** Parses journalctl's JSON, with one entry on each line. Anything else is ignored. */
export function parseJournal(text: string): JournalFacts {
  const starting = new Map<string, number>();
  const started = new Map<string, number>();
  const cycleMessages = new Set<string>();
  for (const line of text.split('\n')) {
    const {
      MESSAGE_ID: id,
      UNIT: unit,
      MESSAGE: message = '',
      __MONOTONIC_TIMESTAMP: time,
    } = parseEntry(line) ?? { __MONOTONIC_TIMESTAMP: '' };
    const usec = Number(time);
    const times = id === STARTING ? starting : id === STARTED ? started : undefined;
    if (times !== undefined && unit !== undefined && !times.has(unit)) times.set(unit, usec);
    if (/ordering cycle/i.test(message) && cycleMessages.size < 100) cycleMessages.add(message.slice(0, 1000));
  }
  const units = [...new Set([...starting.keys(), ...started.keys()])];
  return {
    firstStarts: units.map((unit) => ({
      unit,
      startingUsec: starting.get(unit) ?? 0,
      startedUsec: started.get(unit) ?? 0,
    })),
    cycleMessages: [...cycleMessages],
  };
}

function parseEntry(line: string): z.infer<typeof entry> | undefined {
  try {
    const result = entry.safeParse(JSON.parse(line));
    return result.success ? result.data : undefined;
  } catch {
    return undefined;
  }
}
