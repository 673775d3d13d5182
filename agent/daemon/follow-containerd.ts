import { containerdAddress } from '../boot/with-containerd.ts';
import type { Config } from '../config/config.ts';
import { Containerd } from '../containerd/api/containerd-api.ts';
import { delay } from '../system/clock.ts';
import { releaseProgramSoon } from '../system/memory.ts';

/** How soon a new containerd is followed. */
const LOOK_MS = 1000;
const CONNECT_MS = 2000;
/** How long after its start the units that fill it before Docker may take. What is left then is done here. */
const SETTLE_MS = 2000;
/** The least time from one look to the next, however much changes. */
const BETWEEN_MS = 1500;

export interface ContainerdLooks {
  /** A containerd has come, and is to be filled as at each start. */
  began(): Promise<void>;
  /** Something has changed in a namespace. */
  changed(): Promise<void>;
}

/**
 * Follows each containerd that runs at the configured address. One that starts after us, as Kubernetes' own may, is
 * filled, and what changes in it is told. Nothing waits for containerd, and containerd does not need us.
 */
export async function followContainerd(
  { config, dataRoot }: { readonly config: Config; readonly dataRoot: string },
  looks: ContainerdLooks,
): Promise<never> {
  for (;;) {
    const containerd = await connect(config, dataRoot);
    if (containerd !== undefined) {
      try {
        let isChanged = false;
        let isOver = false;
        let wake: () => void = () => undefined;
        const ended = containerd
          .followImages((namespace) => {
            if (!config.namespaces.includes(namespace)) return;
            isChanged = true;
            wake();
          })
          .then(() => {
            isOver = true;
            wake();
          });
        await Promise.race([ended, delay(SETTLE_MS)]);
        if (!isOver) await looks.began();
        void releaseProgramSoon();
        while (!isOver) {
          if (!isChanged) await new Promise<void>((resolve) => (wake = resolve));
          if (isOver) break;
          await delay(BETWEEN_MS);
          isChanged = false;
          await looks.changed();
        }
      } finally {
        containerd.close();
      }
    }
    await delay(LOOK_MS);
  }
}

async function connect(config: Config, dataRoot: string): Promise<Containerd | undefined> {
  try {
    const address = await containerdAddress(config, dataRoot);
    return address === undefined ? undefined : await Containerd.open(address, CONNECT_MS);
  } catch {
    // It is starting, or nobody listens any more.
    return undefined;
  }
}
