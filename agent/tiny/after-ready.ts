import { runtimePath } from '../config/config.ts';
import { handStart, type HandedStart } from '../daemon/handed-start.ts';
import { serve as serveHere } from '../daemon/run-after-ready.ts';
import type { Start } from '../daemon/start.ts';
import type { StatusDocument } from '../status/schema.ts';
import { listenFd } from '../system/listen-fds.ts';
import { becomeUpgraded, becomeWhole } from './whole-runtime.ts';

/**
 * agent/daemon/run-after-ready.ts on the small engine. Without a socket of the service manager, there is none on which
 * both programs could answer, so the whole program goes on at once.
 */
export async function serve(start: Start, status: StatusDocument, written: string | undefined): Promise<void> {
  if (listenFd() === undefined) goOnAsWhole({ start, status, isPublished: written !== undefined });
  await serveHere(start, status, written);
}

/** The whole program goes on as this daemon. */
export function goOnAsWhole(handed: HandedStart): never {
  becomeUpgraded();
  const path = runtimePath(handed.start.config, 'start.json');
  try {
    handStart(path, handed);
  } catch {
    // If nothing can be written below /run, it begins anew, and finds that all is done.
    becomeWhole();
  }
  becomeWhole(['resume', path]);
}
