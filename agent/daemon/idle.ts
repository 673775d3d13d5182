import { after } from '../system/clock.ts';
import type { Clients } from './clients.ts';
import { workUnderWay } from './unbroken.ts';

/**
 * Ends the process successfully when nobody has asked for this long. Whoever listens on the socket keeps it, so the
 * next client starts it again, even one that connects while it is ending.
 * @param work what has to be finished first
 * @param tell is called just before
 * @returns what makes it end as soon as nobody asks
 */
export function exitWhenIdle(
  clients: Clients,
  idleSec: number,
  work: Promise<void>,
  tell: () => void = () => undefined,
): () => void {
  // The work counts as a client.
  let open = 1;
  let waitSec = idleSec;
  let cancel: () => void = () => undefined;
  const wait = (agoSec: number): void => {
    cancel = after(Math.max(0, waitSec - agoSec) * 1000, () => {
      const work = workUnderWay();
      if (work === undefined) {
        tell();
        process.exit(0);
      } else
        void work.then(() => {
          if (open === 0) wait(waitSec);
        });
    });
  };
  const close = (agoSec: number): void => {
    open -= 1;
    if (open === 0) wait(agoSec);
  };
  clients.follow(() => {
    open += 1;
    cancel();
  }, close);
  void work.finally(() => close(0));
  return () => {
    waitSec = 0;
    cancel();
    if (open === 0) wait(0);
  };
}
