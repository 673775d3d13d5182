import { readFileSync } from 'node:fs';
import { saidVersion, type SaidVersion } from '../docker/dockerd-version.ts';
import type { CurrentStatus, DaemonsOwn } from '../status/current.ts';
import type { StatusDocument } from '../status/schema.ts';
import { removeIfThere, replaceFile } from '../system/write-files.ts';
import { parseTagged, taggedJson } from '../text/tagged-json.ts';
import { dockerdProgram } from './docker-service.ts';
import type { Look } from './look.ts';
import type { Start } from './start.ts';

/** What one process gives to the one that goes on after READY. */
export interface HandedStart {
  readonly start: Start;
  /** The status of the run. */
  readonly status: StatusDocument;
  /** Whether the status is in its file. */
  readonly isPublished: boolean;
  /** Undefined if all that comes after READY is still to be done. */
  readonly lived?: Lived | undefined;
}

/** What the daemon has found out since READY. */
export interface Lived {
  /** The newest status of any run. */
  readonly found: StatusDocument;
  readonly own: DaemonsOwn;
  readonly dockerd: string | undefined;
  /** What that program has said, if it was asked. */
  readonly said: SaidVersion | undefined;
}

/** Only root may see what layers there are. */
const PRIVATE_FILE = 0o600;

/** What is to be handed over, as it is now. */
export function handedNow(start: Start, status: StatusDocument, look: Look, current: CurrentStatus): HandedStart {
  return {
    start: { ...start, result: { ...start.result, ...look.before } },
    status,
    isPublished: current.isPublished,
    lived: { found: current.found, own: current.own, dockerd: dockerdProgram(), said: saidVersion() },
  };
}

export function textOfStart({ start, ...rest }: HandedStart): string {
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
  return taggedJson({ ...rest, start: { ...start, result } });
}

/** @param path of a file of our own, below /run @throws system errors */
export function handStart(path: string, handed: HandedStart): void {
  replaceFile(path, textOfStart(handed), { mode: PRIVATE_FILE, durable: false });
}

/** @throws system errors */
export function readStart(path: string): HandedStart {
  return parseTagged(readFileSync(path, 'utf8')) as HandedStart;
}

/** Reads it and removes it, so that nobody else takes it. @throws system errors */
export function takeStart(path: string): HandedStart {
  const handed = readStart(path);
  removeIfThere(path);
  return handed;
}
