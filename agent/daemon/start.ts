import type { FoundDisk } from '../boot/discover.ts';
import type { NamespacesFilled } from '../boot/fill-namespaces.ts';
import type { LoadedDisk } from '../boot/loaded-disk.ts';
import type { Config } from '../config/config.ts';
import type { Finding } from '../messages/finding.ts';
import type { LedgerContent } from '../overlay2/store/ledger.ts';

/** What the daemon goes on with of all that a run has found out: another process may go on, to which this is given. */
export interface Begun {
  readonly dataRoot: string | undefined;
  readonly disks: readonly LoadedDisk[];
  /** Every device with a label of ours, whether in use or left out. */
  readonly candidates: readonly FoundDisk[];
  /** Undefined where dockerd's own store could not be looked at, or is not filled. */
  readonly plan: { readonly content: Pick<LedgerContent, 'layers'> } | undefined;
  /** Whether the plan's steps were carried out. */
  readonly applied: boolean;
  /** Undefined where containerd's store is not filled. */
  readonly containerd?: Pick<NamespacesFilled, 'namespaces'> | undefined;
  readonly findings: readonly Finding[];
}

/** How a run began. Without a valid configuration there is nothing to look at again. */
export interface Start {
  readonly config: Config;
  /** Where the configuration was read, if that was said. */
  readonly configFile?: string | undefined;
  readonly isConfigured: boolean;
  /** No run has been READY in this boot before. */
  readonly isFirst: boolean;
  /** It was started by a client's request, and not with the unit. */
  readonly isByClient: boolean;
  readonly result: Begun;
}
