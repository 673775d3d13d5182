import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { defaultConfig, runtimePath, type Config } from '../config/config.ts';
import { readConfig } from '../config/read-config.ts';
import { bootRecord } from '../status/boot-times.ts';
import { fetchStatus, type Answer } from '../status/client.ts';
import { publishedStatus, STATUS_FILE } from '../status/publish.ts';
import { statusSchema } from '../status/schema.ts';
import { states } from '../status/state.ts';
import { statusTable } from '../status/status-table.ts';
import { environment } from '../system/environment.ts';
import { isEACCES, isENOENT, reasonOf } from '../system/errors.ts';
import { tellLine } from '../system/stderr.ts';
import { oneLine } from '../text/one-line.ts';
import { parseJson } from '../text/parse-json.ts';
import { terminalOf } from '../text/terminal.ts';
import { StatusChanges } from './status-changes.ts';

/** How often to ask a daemon that has not reached its last phase, since no file shows the phase. */
const PHASE_MS = 1000;
/** How often to ask if no daemon answers, in case one comes back unnoticed. */
const AWAY_MS = 10_000;
/** Clears a terminal and moves to its beginning (ECMA-48, CUP and ED). What was scrolled away stays. */
const CLEAR = '\u001b[H\u001b[J';

/**
 * Asks the daemon for its status, or prints what `apply` has found if that runs without a daemon.
 * @returns the exit status: that of the state, or 1 if no daemon answers; 0 after a watch that lost its reader
 */
export async function printStatus(options: {
  readonly config?: string;
  readonly json?: boolean;
  readonly watch?: boolean;
}): Promise<number> {
  const config = await configOrDefault(options.config);
  const changes = options.watch === true ? new StatusChanges(dirname(config.statusSocket)) : undefined;
  let before = '';
  for (;;) {
    let answer: Answer | undefined;
    try {
      answer = await fetchStatus(config.statusSocket);
    } catch (error) {
      const left = options.watch === true || isEACCES(error) ? undefined : leftByApply(config);
      if (left !== undefined) return printLeft(left, options.json === true);
      const text = `docker-preloader: ${noAnswer(config, error)}`;
      // A watch goes on when the daemon restarts, but ends if no daemon answered from the beginning.
      if (text !== before) tellLine(text);
      if (changes === undefined || before === '') {
        changes?.close();
        return 1;
      }
      before = text;
    }
    if (answer !== undefined) {
      const text =
        options.json === true ? answer.text : statusTable(answer.status, terminalOf(process.stdout, environment()));
      if (text !== before)
        await write(options.watch === true && options.json !== true && process.stdout.isTTY ? `${CLEAR}${text}` : text);
      before = text;
      if (changes === undefined) return states[answer.status.state].exitStatus;
    }
    const limitMs = answer === undefined ? AWAY_MS : answer.status.phase === 'watch' ? Infinity : PHASE_MS;
    if (changes !== undefined && !(await changes.next(limitMs))) return 0;
  }
}

/** Waits until the text is read. Otherwise, with a reader that hangs, status after status would fill our memory. */
function write(text: string): Promise<void> {
  return new Promise((resolve) => void process.stdout.write(text, () => resolve()));
}

/** What `apply` has left in this boot, if no daemon has been READY in it. */
function leftByApply(config: Config): Answer | undefined {
  if (bootRecord(config)?.command !== 'apply') return undefined;
  const text = publishedStatus(config);
  return text === undefined ? undefined : { status: parseJson(text, statusSchema), text };
}

function printLeft({ status, text }: Answer, asJson: boolean): number {
  const note = oneLine(`no daemon runs: this is what docker-preloader apply found at ${status.phaseSince}`);
  if (asJson) tellLine(`docker-preloader: ${note}`);
  process.stdout.write(asJson ? text : `${note}\n${statusTable(status, terminalOf(process.stdout, environment()))}`);
  return states[status.state].exitStatus;
}

/** What was expected, what was found, and how to look further. */
function noAnswer(config: Config, error: unknown): string {
  if (isEACCES(error))
    return `the status socket ${config.statusSocket} answers root and members of the group docker: ${reasonOf(error)}; run it as one of them`;
  const more =
    publishedStatus(config) === undefined ? '' : `; what the last run found is in ${runtimePath(config, STATUS_FILE)}`;
  return `no daemon answers on ${config.statusSocket}: ${isENOENT(error) ? 'there is no such socket' : reasonOf(error)}; start it: systemctl start docker-preloader; look at: systemctl status docker-preloader, journalctl -b -x -u docker-preloader${more}`;
}

/** If the configuration is wrong, the daemon reports that on the default socket. */
async function configOrDefault(path: string | undefined): Promise<Config> {
  try {
    return await readConfig(path);
  } catch (error) {
    const config = defaultConfig();
    if (!existsSync(config.statusSocket)) throw error;
    return config;
  }
}
