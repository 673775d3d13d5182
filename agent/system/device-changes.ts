/** What tells that devices may have come or gone. */
export interface DeviceChanges {
  /** Whether the watch stands, so that no change is missed from now on. */
  isReady(): boolean;
  /** Resolves when it does. */
  ready(): Promise<void>;
  /** Resolves at the next change. */
  next(): Promise<void>;
  close(): void;
}
