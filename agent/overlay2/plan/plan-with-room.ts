import { Store } from '../store/store.ts';
import { isSystemError, messageOf, PreloaderError } from '../../system/errors.ts';
import { plan, type Plan, type PlanInput } from './make-plan.ts';
import { fits, needOf, roomIn } from './room.ts';

export interface Planned {
  /** The store as it was read for the plan. */
  readonly store: Store;
  readonly planned: Plan;
}

/**
 * A plan for the store as it is now, which fits into the room in the data root.
 * @throws PreloaderError STORE_INVALID if the store cannot be read; DiskFault if a disk cannot
 */
export async function planWithRoom(
  dataRoot: string,
  offer: Omit<PlanInput, 'store' | 'beyond' | 'forget'>,
): Promise<Planned> {
  try {
    const input = { ...offer, store: new Store(dataRoot) };
    return { store: input.store, planned: await withRoom(input) };
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new PreloaderError(
      'STORE_INVALID',
      `${dataRoot} is left as it is: ${messageOf(error)}; mend what it names, or move it away`,
      { cause: error },
    );
  }
}

async function withRoom(input: PlanInput): Promise<Plan> {
  const { store } = input;
  const planned = plan(input);
  if (planned.steps.length === 0) return planned;
  const room = roomIn(store.dataRoot);
  if (fits(needOf(planned.steps), room)) return planned;
  const { imagesBeyond } = await import('./beyond.ts');
  return plan({ ...input, beyond: imagesBeyond(planned, room, store) });
}
