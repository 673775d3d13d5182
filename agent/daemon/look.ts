import type { Config } from '../config/config.ts';
import { storeIn } from '../boot/image-store.ts';
import { preload, type Before, type Preload } from '../boot/preload.ts';
import type { LoadedDisk } from '../boot/loaded-disk.ts';
import { effectOf } from '../messages/finding.ts';
import type { CurrentStatus } from '../status/current.ts';
import { statusDocument } from '../status/status-document.ts';
import { eventsOf, logEvents } from '../status/journal-entries.ts';
import { imagesOfStatus, publish } from '../status/publish.ts';
import type { StatusDocument } from '../status/schema.ts';
import type { Code } from '../messages/codes.ts';
import { monotonicUsec } from '../system/clock.ts';
import type { Start } from './start.ts';

/** Codes that only a run which changes the store can find. They stay until the next such run. */
const FOUND_IN_A_RUN: readonly Code[] = [
  'STORE_WRITE',
  'STORE_UNSUPPORTED',
  'RESULT_WRONG',
  'MOUNT_NAMESPACE',
  'LEDGER_INVALID',
  'LOCKED',
  'INTERNAL',
];

/** What has kept a run from filling a store. */
const OF_A_FAILED_FILL: readonly Code[] = ['STORE_WRITE', 'RESULT_WRONG', 'LOCKED'];

/** What a look does to containerd's store, besides looking. */
export interface ContainerdWork {
  /** Names that a prune has taken: they do not count as removed. */
  readonly pruned: ReadonlySet<string>;
}

/**
 * Looks again at the devices and the store without changing dockerd's own store, and publishes what is new. New disks
 * are mounted; the changes that they bring are pending until Docker's next start.
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
  readonly #mayFill: boolean;
  /** What the next look is to do to containerd's store. */
  #fill: ContainerdWork | undefined;

  constructor({ config, result, isConfigured, isByClient }: Start, first: StatusDocument, current: CurrentStatus) {
    this.#config = config;
    this.#current = current;
    this.#dataRoot = result.dataRoot;
    this.#first = first;
    this.#disks = result.disks;
    this.#mayFill = isConfigured && !isByClient;
  }

  /** What the next look begins with. */
  get before(): Pick<Start['result'], 'dataRoot' | 'disks'> {
    return { dataRoot: this.#dataRoot, disks: this.#disks };
  }

  /** How many looks there were. Anything made before the last one may be outdated. */
  get looks(): number {
    return this.#looks;
  }

  /**
   * Looks again. Whoever asks during a look gets the next one, which serves all of them. Resolves when the result is
   * published.
   * @param work also fills containerd's store, which may be changed while Docker runs
   */
  anew(work?: ContainerdWork): Promise<void> {
    if (work !== undefined && this.#mayFill)
      this.#fill = { pruned: new Set([...(this.#fill?.pruned ?? []), ...work.pruned]) };
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

  /**
   * What a run would do now. It takes the lock, because docker.service's `apply` may be changing the store just now.
   */
  async run(fill?: ContainerdWork): Promise<Preload> {
    const store = this.#dataRoot === undefined ? undefined : storeIn(this.#dataRoot);
    const lock = store?.isKnown() === true ? await store.lock().catch(() => undefined) : undefined;
    try {
      return await preload(this.#config, {
        wait: false,
        change: 'never',
        quiet: true,
        before: this.#before(),
        ...(fill === undefined ? {} : { changeContainerd: 'farm', pruned: fill.pruned }),
      });
    } finally {
      lock?.release();
    }
  }

  #before(): Before {
    return { disks: this.#disks, images: imagesOfStatus(this.#current.found) };
  }

  async #publishNew(): Promise<void> {
    const fill = this.#fill;
    this.#fill = undefined;
    const run = await this.run(fill);
    this.#looks += 1;
    this.#disks = run.disks;
    this.#dataRoot = run.dataRoot ?? this.#dataRoot;
    // docker.service's drop-in may have published a status meanwhile.
    const before = this.#current.found;
    const kept = keptFindings(before, run);
    // If a run has failed, restarting Docker does not help, so that is not suggested.
    const findings = [
      ...run.findings.filter(
        ({ code }) =>
          code !== 'DOCKER_RUNNING' ||
          !kept.some((finding) => finding.label === undefined && effectOf(finding) !== 'none'),
      ),
      ...kept,
    ];
    // The times of this boot stay, because a look is not a start.
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
  const { containerd, plan } = run;
  // A look fills containerd's store, too, as soon as that runs.
  const isOfContainerd = (message: string): boolean => plan === undefined || message.startsWith('containerd');
  return (findings as Preload['findings']).filter(
    ({ code, label, message }) =>
      FOUND_IN_A_RUN.includes(code) &&
      !found.has(`${code} ${label ?? ''}`) &&
      !(containerd?.state === 'filled' && OF_A_FAILED_FILL.includes(code) && isOfContainerd(message)) &&
      (label === undefined || labels.has(label)),
  );
}

/**
 * The part of a status that depends on devices and store. `adopted` is left out, because later looks find all disks
 * mounted.
 */
function describe({ dataRoot, disks, images, stores, pending, findings }: StatusDocument): string {
  return JSON.stringify([
    dataRoot,
    disks.map((disk) => ({ ...disk, adopted: false })),
    images,
    stores,
    pending,
    findings,
  ]);
}
