import type { Config } from '../config/config.ts';
import type { DiskContent } from '../disk/read-disk.ts';
import type { DaemonConfig } from '../docker/daemon-config.ts';
import type { ImageID } from '../docker/ids.ts';
import type { References } from '../docker/reference-store.ts';
import type { RankedDisk } from '../merge/offer.ts';
import type { Finding } from '../messages/finding.ts';
import { overlay2Store } from '../overlay2/overlay2-store.ts';
import type { Plan } from '../overlay2/plan/make-plan.ts';
import type { Lock } from '../system/lock.ts';

/** What the pipeline asks of a daemon's store of images, whatever the daemon keeps them in. */
export interface ImageStore {
  /** Why nothing can be put into it, or undefined where it can be filled. */
  unsupported(config: DaemonConfig): Promise<string | undefined>;
  isDaemonRunning(): boolean;
  /** Whether anything of ours may be in it. */
  hasOurs(): boolean;
  /** Whether a run has been at it before. */
  isKnown(): boolean;
  /** Two agents at once: one works, the other waits. @throws PreloaderError LOCKED, STORE_WRITE, STORE_FULL */
  lock(): Promise<Lock>;
  /** Removes what a run that was killed has left beside it; under the lock. */
  clearUp(): void;
  /** @throws PreloaderError LEDGER_NEWER */
  readLedger(): StoreLedger;
  /** Waits until what was written has reached the disk. What goes wrong is logged. */
  sync(): Promise<void>;
}

/** What we have noted of a store, from which a plan for it is made. */
export interface StoreLedger {
  /** That it could not be read. */
  readonly findings: readonly Finding[];
  /** The names that a disk's images had. */
  namesOf(label: string): readonly string[];
  /**
   * A plan for the store as it is now, for which there is room.
   * @throws PreloaderError STORE_INVALID where the store cannot be read; DiskFault where a disk cannot
   */
  plan(disks: readonly RankedDisk[], config: Config): Promise<StorePlan>;
  /** A plan that takes out all that nothing of the user's stands on, as if no disk were attached, and remembers nothing. */
  planRemoval(config: Config): StorePlan;
}

/** A plan, and what can be done with it. */
export interface StorePlan {
  readonly plan: Plan;
  /** The store as it was read for it. */
  readonly before: StoreContent;
  /** Of the images that it would bring, those that the daemon had. @param had that are known beside what we have noted */
  removed(had: ReadonlySet<string>): Promise<RemovedImages>;
  /**
   * Whether what pinned disks have, and reading them has not compared, is what it should be.
   * @param options whether the plan is about to be carried out, and disks that a look before this one has compared
   * @throws DiskFault
   */
  checkPinned(
    disks: readonly DiskContent[],
    options: { readonly willChange: boolean; readonly compared: ReadonlySet<DiskContent> },
  ): Promise<void>;
  /** Why the daemon would not start on what it makes, or undefined. */
  problem(): string | undefined;
  /**
   * Carries it out. What was there before is still there where that fails.
   * @throws system errors; DiskFault where the fault is a disk's; DockerStarted where its daemon was started since it was made
   */
  apply(): void;
  /** What is not as it should be once it is carried out. */
  check(): Finding[];
}

/** What a store has, or had. */
export interface StoreContent {
  readonly images: ReadonlySet<ImageID>;
  readonly references: References;
}

interface RemovedImages {
  readonly images: ReadonlySet<ImageID>;
  readonly findings: readonly Finding[];
}

/** The store that is filled in a data root. */
export function storeIn(dataRoot: string): ImageStore {
  return overlay2Store(dataRoot);
}
