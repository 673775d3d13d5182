import type { Config } from '../config/config.ts';
import type { Preload } from '../boot/preload.ts';

/** How a run began. Without a valid configuration there is nothing to look at again. */
export interface Start {
  readonly config: Config;
  readonly isConfigured: boolean;
  /** No run has been READY in this boot before. */
  readonly isFirst: boolean;
  /** It was started by a client's request, and not with the unit. */
  readonly isByClient: boolean;
  readonly result: Preload;
}
