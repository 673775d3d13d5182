import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { agreedEngine } from '../../agent/packaging/small/agreed-engine.ts';
import { bundleScript } from '../../agent/packaging/small/script-bundle.ts';
import { linkScripts } from '../../agent/packaging/small/small-executable.ts';

const root = path.resolve(import.meta.dirname, '../..');

/**
 * Ends with the status and the words of a sanitizer where there is anything to be told. What is left at the end is the
 * kernel's.
 */
export const sanitizerEnv = {
  ASAN_OPTIONS: 'detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=0:exitcode=99',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1:exitcode=99',
} as const;

/** What a sanitizer says. */
export const sanitizerWords = /Sanitizer|runtime error/;

/** Makes an executable of the small engine and both sanitizers. @param entry relative to the repository */
export async function makeSanitized(entry: string, output: string): Promise<void> {
  mkdirSync(path.dirname(output), { recursive: true });
  const { scripts } = await bundleScript(root, entry, { engine: 'quickjs' });
  await linkScripts(root, scripts, await agreedEngine(root), output, { flavour: 'sanitized' });
}
