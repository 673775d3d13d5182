import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestContext } from 'node:test';

/** In memory where that can be had: these tests write many small files, and sync each. */
const parent = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();

/** A private folder that is gone after the test. */
export function scratch(t: Pick<TestContext, 'after'>): string {
  const folder = makeScratch();
  t.after(() => removeScratch(folder));
  return folder;
}

/** The same for what is no test: one round of a property. */
export function makeScratch(): string {
  return mkdtempSync(path.join(parent, 'dpl-unit-'));
}

export function removeScratch(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}
