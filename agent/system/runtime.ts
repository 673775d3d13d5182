/**
 * Lets the runtime compile what is called often. The executable starts with a hundred times the thresholds (see
 * packaging/executable.ts), right for a boot and wrong for whoever unpacks gigabytes. Node needs no word of this.
 */
export function expectLongWork(): void {
  (globalThis as { readonly Bun?: { readonly unsafe: { setJITPolicy(scale: number): void } } }).Bun?.unsafe.setJITPolicy(1);
}
