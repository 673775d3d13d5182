import type { Config } from '../config/config.ts';
import type { Preload } from '../boot/preload.ts';

/** How a run began: without a valid configuration there is nothing to look at again. */
export interface Start {
  readonly config: Config;
  readonly isConfigured: boolean;
  /** No run has been READY in this boot. */
  readonly isFirst: boolean;
  /** A client's request has brought it about, and not the unit's own start. */
  readonly isByClient: boolean;
  readonly result: Preload;
}
