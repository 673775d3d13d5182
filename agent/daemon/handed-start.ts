import { readFileSync } from 'node:fs';
import type { StatusDocument } from '../status/schema.ts';
import { removeIfThere, replaceFile } from '../system/files.ts';
import { parseTagged, taggedJson } from '../text/tagged-json.ts';
import type { Start } from './start.ts';

/** What one process gives to the one that goes on after READY. */
export interface HandedStart {
  readonly start: Start;
  readonly status: StatusDocument;
  /** Whether the status is in its file. */
  readonly isPublished: boolean;
}

/** Only root may see what layers there are. */
const PRIVATE_FILE = 0o600;

/** @param path of a file of our own, below /run @throws system errors */
export function handStart(path: string, { start, ...rest }: HandedStart): void {
  const { dataRoot, disks, candidates, plan, applied, containerd, findings } = start.result;
  const result = {
    dataRoot,
    disks,
    candidates,
    applied,
    findings,
    plan: plan === undefined ? undefined : { content: { layers: plan.content.layers } },
    containerd: containerd === undefined ? undefined : { namespaces: containerd.namespaces },
  };
  replaceFile(path, taggedJson({ ...rest, start: { ...start, result } }), { mode: PRIVATE_FILE, durable: false });
}

/** Takes it, once. @throws system errors */
export function takeStart(path: string): HandedStart {
  const handed = parseTagged(readFileSync(path, 'utf8')) as HandedStart;
  removeIfThere(path);
  return handed;
}
