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
  /**
   * Why nothing can be put into it, or undefined where it can be filled.
   * @param isBoth whether another store of the daemon's is filled, too
   */
  unsupported(config: DaemonConfig, isBoth: boolean): Promise<string | undefined>;
  isDaemonRunning(): boolean;
  /** Whether anything of ours may be in it. */
  hasOurs(): boolean;
  /** Whether something of ours is in it, and nothing says what. */
  hasLostLedger(): boolean;
  /** Whether a run has worked on it before. */
  isKnown(): boolean;
  /**
   * Takes the lock by which one of two agents works and the other waits. @throws PreloaderError LOCKED, STORE_WRITE,
   * STORE_FULL
   */
  lock(): Promise<Lock>;
  /** Removes what a killed run has left beside it. The caller holds the lock. */
  clearUp(): void;
  /** @throws PreloaderError LEDGER_NEWER */
  readLedger(): StoreLedger;
  /** Waits until what was written has reached the disk. Failures are logged. */
  sync(): Promise<void>;
}

/** What we have noted about a store. A plan for it is made from this. */
export interface StoreLedger {
  /** Says so if it could not be read. */
  readonly findings: readonly Finding[];
  /** The names that a disk's images had. */
  namesOf(label: string): readonly string[];
  /**
   * A plan for the store as it is now, which fits into the room that there is.
   * @throws PreloaderError STORE_INVALID where the store cannot be read; DiskFault where a disk cannot
   */
  plan(disks: readonly RankedDisk[], config: Config): Promise<StorePlan>;
  /**
   * A plan that takes out everything of ours on which nothing of the user's stands, as if no disk were attached.
   * Nothing is remembered afterwards.
   */
  planRemoval(config: Config): StorePlan;
}

/** A plan, and what can be done with it. */
export interface StorePlan {
  readonly plan: Plan;
  /** The store as it was when the plan was made. */
  readonly before: StoreContent;
  /**
   * Images that the plan would bring, but that the daemon has had already and has lost since.
   * @param had images that the daemon is known to have had, beside those in the ledger
   */
  removed(had: ReadonlySet<string>): Promise<RemovedImages>;
  /**
   * Compares what was not yet compared of pinned disks when they were read, and will not be when it is copied.
   * @param options whether the plan is about to be carried out, and the disks that an earlier look has compared
   * @throws DiskFault if the content is not what was pinned
   */
  checkPinned(
    disks: readonly DiskContent[],
    options: { readonly willChange: boolean; readonly compared: ReadonlySet<DiskContent> },
  ): Promise<void>;
  /** Why the daemon would not start on the store that the plan makes, or undefined. */
  problem(): string | undefined;
  /**
   * Carries the plan out. If that fails, what was there before is still there.
   * @throws system errors; DiskFault if a disk is at fault; DockerStarted if the daemon was started after the plan was
   * made
   */
  apply(): void;
  /** What is not as it should be after the plan was carried out. */
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

/** The store to fill in a data root. */
export function storeIn(dataRoot: string): ImageStore {
  return overlay2Store(dataRoot);
}
