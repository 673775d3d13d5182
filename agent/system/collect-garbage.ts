/**
 * Collects garbage at once, where it is known that there is much and that little is still needed. Left to itself,
 * JavaScriptCore lets it grow by a share of the machine's memory: the same build would take more on a larger machine.
 * Does nothing on a runtime that has no call for it.
 */
export function collectGarbage(): void {
  const { Bun: bun } = globalThis as { readonly Bun?: { gc: (force: boolean) => void } };
  bun?.gc(true);
}
