/** Who asks for the status, and is answered. */
export interface Clients {
  /** Resolves when nobody can be answered any more. */
  readonly over: Promise<void>;
  /**
   * Tells of each client, or of several together, when they come and when they are gone.
   * @param gone gets how many seconds ago that was
   */
  follow(came: () => void, gone: (agoSec: number) => void): void;
  /**
   * Begins anew as this process, as soon as nobody is being answered. The whole program cannot, and goes on. It is the daemon
   * only where no service manager listens.
   */
  beginAnew(): void;
}
