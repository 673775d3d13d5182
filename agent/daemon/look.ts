import { existsSync } from 'node:fs';
import type { Config } from '../config/config.ts';
import { ledgerFolder } from '../overlay2/ledger.ts';
import { preload, type Before, type Preload } from '../boot/preload.ts';
import type { LoadedDisk } from '../boot/loaded-disk.ts';
import { takeLock } from '../overlay2/store-lock.ts';
import { effectOf } from '../messages/finding.ts';
import type { CurrentStatus } from '../status/current.ts';
import { statusDocument } from '../status/status-document.ts';
import { eventsOf, logEvents } from '../status/journal-entries.ts';
import { imagesOfStatus, publish } from '../status/publish.ts';
import type { StatusDocument } from '../status/schema.ts';
import type { Code } from '../messages/codes.ts';
import { monotonicUsec } from '../system/clock.ts';
import type { Start } from './start.ts';

/** What only a run that changes the store finds out: it stays until the next one. */
const FOUND_IN_A_RUN: readonly Code[] = [
  'STORE_WRITE',
  'STORE_UNSUPPORTED',
  'RESULT_WRONG',
  'MOUNT_NAMESPACE',
  'LEDGER_INVALID',
  'LOCKED',
  'INTERNAL',
];

/**
 * How the daemon looks again at devices and store, which it leaves alone: what it finds in them is published where it is
 * new. New disks are mounted; what they would change is pending until Docker's next start.
 */
export class Look {
  readonly #config: Config;
  readonly #current: CurrentStatus;
  readonly #first: StatusDocument;
  #dataRoot: string | undefined;
  #disks: readonly LoadedDisk[];
  #looks = 0;
  #atWork: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor({ config, result }: Start, first: StatusDocument, current: CurrentStatus) {
    this.#config = config;
    this.#current = current;
    this.#dataRoot = result.dataRoot;
    this.#first = first;
    this.#disks = result.disks;
  }

  /** How many looks there were: what was made before the last one may be old. */
  get looks(): number {
    return this.#looks;
  }

  /** Looks anew; who asks while one look is at work gets the next, many together. Resolves once the result is published. */
  anew(): Promise<void> {
    if (this.#atWork === undefined) return this.#start();
    this.#next ??= this.#atWork.then(() => this.#start());
    return this.#next;
  }

  #start(): Promise<void> {
    this.#next = undefined;
    this.#atWork = this.#publishNew().finally(() => {
      this.#atWork = undefined;
    });
    return this.#atWork;
  }

  /** What a run would do now. Between two states of the store: docker.service's `apply` may be at work on it just now. */
  async run(): Promise<Preload> {
    const dataRoot = this.#dataRoot;
    const lock =
      dataRoot !== undefined && existsSync(ledgerFolder(dataRoot))
        ? await takeLock(dataRoot).catch(() => undefined)
        : undefined;
    try {
      return await preload(this.#config, { wait: false, change: 'never', quiet: true, before: this.#before() });
    } finally {
      lock?.release();
    }
  }

  #before(): Before {
    return { disks: this.#disks, images: imagesOfStatus(this.#current.found) };
  }

  async #publishNew(): Promise<void> {
    const run = await this.run();
    this.#looks += 1;
    this.#disks = run.disks;
    this.#dataRoot = run.dataRoot ?? this.#dataRoot;
    // docker.service's drop-in may have looked, too.
    const before = this.#current.found;
    const kept = keptFindings(before, run);
    // Against what has made a run fail, another start of Docker does not help.
    const findings = [
      ...run.findings.filter(
        ({ code }) =>
          code !== 'DOCKER_RUNNING' ||
          !kept.some((finding) => finding.label === undefined && effectOf(finding) !== 'none'),
      ),
      ...kept,
    ];
    // This boot's times stay: a look is no start.
    const status = {
      ...statusDocument({ ...run, findings }, monotonicUsec()),
      readyUsec: this.#first.readyUsec,
      timings: this.#first.timings,
    };
    const isNew = describe(status) !== describe(before);
    if (!isNew && this.#current.isPublished) return;
    this.#current.setFound(isNew ? status : before, publish(this.#config, isNew ? status : before, 'run'));
    if (isNew) logEvents(eventsOf(status, before));
  }
}

function keptFindings({ findings }: StatusDocument, run: Preload): Preload['findings'] {
  const found = new Set<string>(run.findings.map(({ code, label }) => `${code} ${label ?? ''}`));
  const labels = new Set(run.disks.map(({ content }) => content.label));
  return (findings as Preload['findings']).filter(
    ({ code, label }) =>
      FOUND_IN_A_RUN.includes(code) &&
      !found.has(`${code} ${label ?? ''}`) &&
      (label === undefined || labels.has(label)),
  );
}

/** What of a status depends on devices and store. To a later look, all disks are mounted already. */
function describe({ dataRoot, disks, images, pending, findings }: StatusDocument): string {
  return JSON.stringify([dataRoot, disks.map((disk) => ({ ...disk, adopted: false })), images, pending, findings]);
}
