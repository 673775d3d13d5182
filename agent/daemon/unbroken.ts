const underWay = new Set<Promise<unknown>>();

/** Does something that this process is not to break off when it ends by itself. */
export async function unbroken<T>(work: Promise<T>): Promise<T> {
  underWay.add(work);
  try {
    return await work;
  } finally {
    underWay.delete(work);
  }
}

/** What is under way now, or undefined. It resolves when that is done. */
export function workUnderWay(): Promise<unknown> | undefined {
  return underWay.size === 0 ? undefined : Promise.allSettled(underWay);
}
