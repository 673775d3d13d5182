interface Entry {
  readonly what: string;
  readonly undo: () => Promise<void> | void;
}

const entries = new Set<Entry>();
let watching = false;

/**
 * Registers how to undo something that outlives this process (a mount, a loop device, a daemon, a folder).
 *
 * It is undone by the returned function, by `cleanUpAll`, or on Ctrl-C, SIGTERM and SIGHUP: once, whatever comes first.
 * @param what names it in an error message
 * @returns undoes it now
 */
export function cleanUpLater(what: string, undo: () => Promise<void> | void): () => Promise<void> {
  watchSignals();
  const entry = { what, undo };
  entries.add(entry);
  return () => run(entry);
}

/**
 * Undoes everything that is still registered, newest first: a test file's `after`, a script's `finally`.
 * @throws AggregateError of what could not be undone, after everything was tried
 */
export async function cleanUpAll(): Promise<void> {
  const errors: unknown[] = [];
  for (const entry of [...entries].reverse()) {
    await run(entry).catch((error: unknown) => errors.push(new Error(`could not clean up ${entry.what}`, { cause: error })));
  }
  if (errors.length > 0) throw new AggregateError(errors, errors.map(withCause).join('; '));
}

async function run(entry: Entry): Promise<void> {
  if (entries.delete(entry)) await entry.undo();
}

function withCause(error: unknown): string {
  return error instanceof Error ? `${error.message}${error.cause === undefined ? '' : `: ${withCause(error.cause)}`}` : String(error);
}

/** Cleans up on the signals that end a run from outside, and then ends by that signal, so that a caller sees it. */
function watchSignals(): void {
  if (watching) return;
  watching = true;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      void cleanUpAll()
        .catch((error: unknown) => process.stderr.write(`${withCause(error)}\n`))
        .then(() => {
          process.removeAllListeners(signal);
          process.kill(process.pid, signal);
        });
    });
  }
}
