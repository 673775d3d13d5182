interface Entry {
  readonly what: string;
  readonly undo: () => Promise<void> | void;
  readonly isThere: () => boolean;
}

const entries = new Set<Entry>();
const undoing = new Map<Entry, Promise<void>>();
const undone: Entry[] = [];
let ending: Promise<void> | undefined;
let watching = false;

/**
 * Registers how to undo something that outlives this process (a mount, a loop device, a daemon, a folder).
 *
 * It is undone by the returned function, by `cleanUpAll`, or on Ctrl-C, SIGTERM and SIGHUP: once, whatever comes first.
 * @param what names it in an error message
 * @param isThere where work that goes on during a Ctrl-C can bring it back, as a path: tells whether it did
 * @returns undoes it now
 */
export function cleanUpLater(
  what: string,
  undo: () => Promise<void> | void,
  isThere: () => boolean = () => false,
): () => Promise<void> {
  watchSignals();
  const entry = { what, undo, isThere };
  entries.add(entry);
  return () => run(entry);
}

/**
 * Undoes everything that is still registered, newest first: a test file's `after`, a script's `finally`.
 * @throws AggregateError of what could not be undone, after everything was tried
 */
export async function cleanUpAll(): Promise<void> {
  const errors: unknown[] = [];
  // The newest also of what is registered meanwhile, by a test that has not noticed yet that it is over: it may stand
  // on what is older.
  for (let entry = next(); entry !== undefined; entry = next()) {
    const { what } = entry;
    await run(entry).catch((error: unknown) => errors.push(new Error(`could not clean up ${what}`, { cause: error })));
  }
  if (errors.length > 0) throw new AggregateError(errors, errors.map(withCause).join('; '));
}

/** What is being undone first, then the newest. */
function next(): Entry | undefined {
  return [...undoing.keys()][0] ?? [...entries].at(-1);
}

/** Undoes an entry once; whoever asks meanwhile waits for the same. */
function run(entry: Entry): Promise<void> {
  if (entries.delete(entry)) {
    undone.push(entry);
    undoing.set(
      entry,
      (async () => entry.undo())().finally(() => undoing.delete(entry)),
    );
  }
  return undoing.get(entry) ?? Promise.resolve();
}

function withCause(error: unknown): string {
  return error instanceof Error
    ? `${error.message}${error.cause === undefined ? '' : `: ${withCause(error.cause)}`}`
    : String(error);
}

/** Cleans up, and again what the work that was interrupted has brought back meanwhile. */
async function end(): Promise<void> {
  do {
    for (const entry of undone.splice(0)) if (entry.isThere()) entries.add(entry);
    await cleanUpAll();
  } while (undone.some((entry) => entry.isThere()));
}

/** Cleans up on the signals that end a run from outside, and then ends by that signal, so that a caller sees it. */
function watchSignals(): void {
  if (watching) return;
  watching = true;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    // node:test exits in its own handler, which would not wait for this one.
    process.removeAllListeners(signal);
    process.on(signal, () => {
      // The runner that reads this output may have ended already; then writing fails, which must not end this.
      for (const output of [process.stdout, process.stderr]) output.on('error', () => {});
      // A second signal, of a terminal and then of a parent, does not cut the work short.
      ending ??= end()
        .catch((error: unknown) => void process.stderr.write(`${withCause(error)}\n`))
        .then(() => {
          process.removeAllListeners(signal);
          process.kill(process.pid, signal);
        });
    });
  }
}
