/** Who asks for the status, and is answered. */
export interface Clients {
  /** Resolves when nobody can be answered any more. */
  readonly over: Promise<void>;
  /** Tells of each client, or of several together, when they come and when they are gone. */
  follow(came: () => void, gone: () => void): void;
}
