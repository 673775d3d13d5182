import { MOBY } from '../docker/daemon-config.ts';
import type { ImageID } from '../docker/ids.ts';
import { fits } from '../overlay2/plan/room.ts';
import { takeLock } from '../overlay2/store-lock.ts';
import { ledgerFolder } from '../overlay2/store/ledger.ts';
import type { Config } from '../config/config.ts';
import type { Finding } from '../messages/finding.ts';
import { delay, monotonicUsec } from '../system/clock.ts';
import { isEDQUOT, isENOSPC, isSystemError, messageOf, PreloaderError } from '../system/errors.ts';
import { isDirectory } from '../system/read-files.ts';
import { plural } from '../text/plural.ts';
import { applySteps } from './apply-namespace.ts';
import { Containerd } from './api/containerd-api.ts';
import { GrpcError, hasStatus } from './api/grpc-error.ts';
import {
  emptyNamespaceLedger,
  readContainerdLedger,
  writeContainerdLedger,
  type ContainerdLedger,
  type NamespaceLedger,
} from './containerd-ledger.ts';
import { KUBERNETES } from './record-names.ts';
import { LinkFarm } from './link-farm.ts';
import { farmLinks, type OfferedDisk } from './namespace-offer.ts';
import { planNamespace, type NamespacePlan, type NamespacePlanInput } from './plan/plan-namespace.ts';
import { LEASE_PREFIX, readPresent, readRoots, readSnapshots, type ContainerdRoots } from './namespace-present.ts';
import { imagesBeyond, needOf, roomFor } from './plan/namespace-room.ts';
import { sharedBlobs } from './shared-blobs.ts';
import type { RefusedBlobs, Step } from './plan/namespace-steps.ts';

export interface FillOptions {
  /** Path of containerd's socket. */
  readonly address: string;
  readonly namespaces: readonly string[];
  /** Where the ledger and the lock are: the data root of the dockerd that uses this containerd. */
  readonly dataRoot: string;
  /** Root of the link farm, below /run. */
  readonly farmRoot: string;
  readonly disks: readonly OfferedDisk[];
  readonly config: Pick<Config, 'conflicts' | 'removedImages'>;
  /** The snapshotter that CRI is configured with, if a containerd without CRI stands in for another. */
  readonly criSnapshotter?: string | undefined;
  /** How long containerd may take to answer after its start. */
  readonly connectTimeoutMs: number;
  /** Names in Docker's namespace that a prune has taken. They do not count as removed. */
  readonly pruned?: ReadonlySet<string>;
  /** `plan` changes nothing. `unlink` takes everything out and forgets it. It gets no disks. */
  readonly mode: 'apply' | 'plan' | 'unlink';
}

/** What was found and done in a containerd. */
export interface ContainerdFill {
  readonly version: string;
  /** For each namespace what there was to do when it was first looked at. */
  readonly plans: readonly NamespacePlan[];
  /** How many links of the farm were to be changed. */
  readonly farmChanges: number;
  readonly applied: boolean;
  readonly findings: readonly Finding[];
}

/**
 * A plan may be outdated when it is carried out, because the user or a collection is changing the store. Then another
 * one is made, after a longer wait each time.
 */
const MAX_PASSES = 6;
const RETRY_MS = 20;

/** Findings that are told only when all is done. A plan does not know yet who will let go of a layer. */
const OF_A_STATE: ReadonlySet<Finding['code']> = new Set(['KEPT', 'BUILD_CACHE', 'LAYERS_UNLINKED']);

/**
 * Makes the disks' images part of a containerd's store, through its API: connect, read, plan, apply, check. It may run
 * at any time, even while dockerd runs. What it adds is there at once.
 * @throws PreloaderError STORE_UNSUPPORTED, LEDGER_NEWER, LOCKED, STORE_FULL, STORE_WRITE
 */
export async function fillContainerd(options: FillOptions): Promise<ContainerdFill> {
  const containerd = await connect(options.address, options.connectTimeoutMs);
  try {
    const [version, uuid, roots] = await Promise.all([containerd.version(), containerd.uuid(), readRoots(containerd)]);
    const refusal = options.namespaces.includes(KUBERNETES)
      ? await (await import('./cri-snapshotter.ts')).kubernetesRefusal(containerd, roots, options.criSnapshotter)
      : undefined;
    const namespaces = options.namespaces.filter((name) => refusal === undefined || name !== KUBERNETES);
    const fill = new Fill(containerd, { ...options, namespaces }, { uuid, roots });
    await fill.run();
    return {
      version,
      plans: fill.plans,
      farmChanges: fill.farmChanges,
      applied: options.mode !== 'plan',
      findings: refusal === undefined ? fill.findings : [refusal, ...fill.findings],
    };
  } catch (error) {
    if (error instanceof GrpcError || isSystemError(error)) throw fillError(error, options.address);
    throw error;
  } finally {
    containerd.close();
  }
}

/** The error for what has stopped a fill. containerd passes on the kernel's error as text. */
function fillError(error: unknown, address: string): PreloaderError {
  const said = `containerd at ${address}: ${messageOf(error)}: what was there before is still there`;
  return isENOSPC(error) ||
    isEDQUOT(error) ||
    /: (?:no space left on device|disk quota exceeded)/.test(messageOf(error))
    ? new PreloaderError('STORE_FULL', `${said}; free some room, then run: docker-preloader apply --only containerd`, {
        cause: error,
      })
    : new PreloaderError('STORE_WRITE', `${said}, the rest is tried again at the next start`, { cause: error });
}

async function connect(address: string, timeoutMs: number): Promise<Containerd> {
  for (const deadline = monotonicUsec() + timeoutMs * 1000; ;) {
    const leftMs = Math.ceil((deadline - monotonicUsec()) / 1000);
    try {
      return await Containerd.open(address, Math.max(leftMs, 1));
    } catch (error) {
      if (!hasStatus(error, 'unavailable') || leftMs <= RETRY_MS)
        throw new PreloaderError(
          'STORE_WRITE',
          `containerd at ${address}: expected an answer within ${timeoutMs / 1000} s, found none: ${messageOf(error)}; look whether containerd.service runs`,
          { cause: error },
        );
    }
    await delay(RETRY_MS);
  }
}

class Fill {
  plans: readonly NamespacePlan[] = [];
  findings: readonly Finding[] = [];
  farmChanges = 0;
  #isLedgerInvalid = false;
  readonly #containerd: Containerd;
  readonly #options: FillOptions;
  readonly #uuid: string;
  readonly #roots: ContainerdRoots;
  readonly #farm: LinkFarm;
  readonly #refused = new Map<string, RefusedBlobs>();
  /** By namespace, images that there was no room for. */
  readonly #beyond = new Map<string, ReadonlyMap<ImageID, Finding>>();

  constructor(
    containerd: Containerd,
    options: FillOptions,
    { uuid, roots }: { readonly uuid: string; readonly roots: ContainerdRoots },
  ) {
    this.#containerd = containerd;
    this.#options = options;
    this.#uuid = uuid;
    this.#roots = roots;
    this.#farm = new LinkFarm(options.farmRoot);
  }

  async run(): Promise<void> {
    const { mode, disks, dataRoot, farmRoot } = this.#options;
    const links = farmLinks(this.#farm, disks);
    if (mode === 'plan') {
      this.farmChanges = this.#farm.changes(links);
      await this.#planAll();
      if (this.plans.every(({ steps }) => steps.length === 0)) await this.#tellShared(links);
      return;
    }
    // A host that never had a disk gets no folder of ours.
    if (disks.length === 0 && !isDirectory(ledgerFolder(dataRoot)) && !isDirectory(farmRoot)) {
      await this.#planAll();
      if (this.plans.every(({ steps }) => steps.length === 0)) return;
    }
    const lock = await takeLock(dataRoot, { name: 'containerd-lock' });
    try {
      if (mode === 'apply') this.farmChanges = this.#farm.fill(links);
      await this.#passes();
      let shared = await this.#tellShared(links);
      if (mode === 'unlink' && (await this.#collectKept())) shared = await this.#tellShared(links);
      if (mode === 'unlink')
        this.farmChanges = this.#farm.keepOnly(new Set([...shared, ...(await this.#layersInUse())]));
    } finally {
      lock.release();
    }
  }

  /**
   * Waits for a collection and plans again, because what was removed a moment ago stays until it is collected, and
   * nobody stands on it. @returns whether anything was kept
   */
  async #collectKept(): Promise<boolean> {
    const { plans, findings } = this;
    const [first] = plans;
    if (first === undefined || !findings.some(({ code }) => code === 'KEPT')) return false;
    await this.#containerd.namespace(first.namespace).collect(`${LEASE_PREFIX}${process.pid}-collection`);
    await this.#passes();
    this.plans = plans;
    this.findings = unique([...findings.filter(({ code }) => !OF_A_STATE.has(code)), ...this.findings]);
    return true;
  }

  /** Adds findings for the user's content whose bytes are only on disks. @returns its links in the farm */
  async #tellShared(offered: ReadonlyMap<string, string>): Promise<ReadonlySet<string>> {
    const { links, findings } = await sharedBlobs(this.#containerd, this.#roots, {
      farm: this.#farm,
      offered,
      plans: new Map(this.plans.map((plan) => [plan.namespace, plan])),
      forget: this.#options.mode === 'unlink',
    });
    this.findings = [...this.findings, ...findings];
    return links;
  }

  /** Layers that are still there, in any namespace, have their files on disks. @returns their links in the farm */
  async #layersInUse(): Promise<ReadonlySet<string>> {
    const links = new Set<string>();
    for (const name of await this.#containerd.namespaces())
      for (const { own } of (await readSnapshots(this.#containerd.namespace(name), this.#roots)).values())
        if (own?.place.is === 'link') links.add(own.place.target);
    return links;
  }

  /** Plans and applies until nothing is left to be done. That is the check, too. */
  async #passes(): Promise<void> {
    let first: readonly NamespacePlan[] | undefined;
    let failure: unknown;
    let happened: readonly Finding[] = [];
    for (let pass = 1; ; pass++) {
      const ledger = await this.#planAll();
      first ??= this.plans;
      const left = this.plans.filter(({ steps }) => steps.length > 0);
      if (left.length === 0 || pass > MAX_PASSES) {
        this.#settle(left, failure);
        break;
      }
      let isNoted = false;
      const beforeImages = (): void => {
        if (!isNoted) this.#note(ledger, (plan) => plan.before);
        isNoted = true;
      };
      happened = [...happened, ...this.findings.filter(({ code }) => !OF_A_STATE.has(code))];
      try {
        for (const { namespace, steps } of left) {
          const options = { roots: this.#roots, farm: this.#farm, beforeImages };
          const refused = await applySteps(this.#containerd.namespace(namespace), steps, options);
          this.#refused.set(namespace, new Map([...(this.#refused.get(namespace) ?? []), ...refused]));
        }
        failure = undefined;
      } catch (error) {
        if (!isOutdated(error)) throw error;
        failure = error;
      }
      if (pass > 1 || failure !== undefined) await delay(RETRY_MS * 2 ** (pass - 1));
    }
    this.plans = first;
    this.findings = unique([...happened, ...this.findings]);
  }

  async #planAll(): Promise<ContainerdLedger> {
    const { namespaces, dataRoot, disks, config, mode, pruned } = this.#options;
    const { state, ledger, cause } = readContainerdLedger(dataRoot, this.#uuid);
    const plans: NamespacePlan[] = [];
    for (const name of new Set([...namespaces, ...ledger.keys()])) {
      const isOurs = namespaces.includes(name);
      const present = await readPresent(this.#containerd.namespace(name), this.#roots);
      const input: NamespacePlanInput = {
        // A namespace that is no longer configured is treated as one without disks.
        disks: isOurs ? disks : [],
        present,
        ledger: withoutNames(ledger.get(name) ?? emptyNamespaceLedger, name === MOBY ? pruned : undefined),
        config,
        farm: this.#farm,
        roots: this.#roots,
        forget: mode === 'unlink' || !isOurs,
        refused: this.#refused.get(name) ?? new Map(),
      };
      plans.push(
        this.#withRoom(
          input,
          plans.flatMap(({ steps }) => steps),
        ),
      );
    }
    this.plans = plans;
    this.#isLedgerInvalid = state === 'invalid';
    const invalid: Finding[] =
      state === 'invalid'
        ? [{ code: 'LEDGER_INVALID', message: `the ledger is made anew from containerd's store: ${messageOf(cause)}` }]
        : [];
    this.findings = unique([...invalid, ...plans.flatMap(({ findings }) => findings)]);
    return ledger;
  }

  /**
   * Makes a plan that fits into the room that there is. What the first pass leaves out, later ones leave out, too.
   * @param before steps of other namespaces
   */
  #withRoom(input: NamespacePlanInput, before: readonly Step[]): NamespacePlan {
    const { namespace } = input.present;
    const known = this.#beyond.get(namespace);
    const plan = planNamespace(known === undefined ? input : { ...input, beyond: known });
    if (known !== undefined || plan.steps.length === 0) return plan;
    const room = roomFor(this.#roots);
    const used = needOf(before);
    const left = { path: room.path, bytes: room.bytes - used.bytes, inodes: room.inodes - used.inodes };
    const beyond = fits(needOf(plan.steps), left) ? new Map<ImageID, Finding>() : imagesBeyond(plan, left);
    this.#beyond.set(namespace, beyond);
    return beyond.size === 0 ? plan : planNamespace({ ...input, beyond });
  }

  #note(ledger: ContainerdLedger, entry: (plan: NamespacePlan) => NamespaceLedger): void {
    writeContainerdLedger(
      this.#options.dataRoot,
      this.#uuid,
      new Map([...ledger, ...this.plans.map((plan) => [plan.namespace, entry(plan)] as const)]),
    );
  }

  /** Writes the ledger of what is there now, or says what is still to be done. */
  #settle(left: readonly NamespacePlan[], failure: unknown): void {
    if (left.length > 0) {
      const why = failure === undefined ? '' : `: ${messageOf(failure)}`;
      this.findings = [
        ...this.findings,
        {
          code: 'RESULT_WRONG',
          message: `containerd's store is not what was planned: ${plural(
            left.reduce((sum, { steps }) => sum + steps.length, 0),
            'change',
          )} still to be made after ${MAX_PASSES} passes${why}`,
        },
      ];
      return;
    }
    if (this.#isLedgerInvalid || this.plans.some(({ isLedgerStale }) => isLedgerStale))
      this.#note(new Map(), (plan) => plan.after);
  }
}

function withoutNames(ledger: NamespaceLedger, names: ReadonlySet<string> = new Set()): NamespaceLedger {
  if (names.size === 0) return ledger;
  return { ...ledger, references: new Map([...ledger.references].filter(([name]) => !names.has(name))) };
}

/** Whether a step has found the store changed since the plan was made. */
function isOutdated(error: unknown): boolean {
  return hasStatus(error, 'notFound', 'alreadyExists', 'failedPrecondition', 'outOfRange');
}

/** The findings without repetitions: two namespaces may have the same one. */
function unique(findings: readonly Finding[]): Finding[] {
  const seen = new Set<string>();
  return findings.filter(({ message }) => !seen.has(message) && seen.add(message));
}
