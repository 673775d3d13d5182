import { runtimePath } from '../config/config.ts';
import { handStart } from '../daemon/handed-start.ts';
import type { Start } from '../daemon/start.ts';
import type { StatusDocument } from '../status/schema.ts';
import { becomeWhole } from './whole-runtime.ts';

/** agent/daemon/run-after-ready.ts on the small engine: what is left of the daemon's life is the whole program's. */
export async function serve(start: Start, status: StatusDocument, written: string | undefined): Promise<void> {
  const path = runtimePath(start.config, 'start.json');
  try {
    handStart(path, { start, status, isPublished: written !== undefined });
  } catch {
    // Where nothing can be written below /run, it begins anew, and finds all done.
    becomeWhole();
  }
  becomeWhole(['resume', path]);
}
