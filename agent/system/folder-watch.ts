/** A watch for one change. */
export interface FolderWatch {
  /** Resolves at the first change. After that nothing is watched, so that many changes cost no more than one. */
  readonly changed: Promise<void>;
  close(): void;
}
