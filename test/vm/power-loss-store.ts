import { readFileSync } from 'node:fs';
import path from 'node:path';
import { readLedger } from '../../agent/overlay2/store/ledger.ts';
import { userPartOf, type UserPart } from '../safety/store-invariants.ts';
import { readTree, type Tree } from '../support/tree.ts';

/** The user's part of a store, without what dockerd itself changes whenever it starts or a container runs. */
export function lastingPartOf(store: string, references: readonly string[], volumes: readonly string[]): UserPart {
  const whole = userPartOf(store, references);
  const entries = new Map(
    [...whole.entries].filter(
      ([file]) =>
        (/^(image|overlay2)\//.test(file) && !/^overlay2\/[^/]+\/(merged|work)/.test(file)) ||
        volumes.some((volume) => file.startsWith(`volumes/${volume}/`)),
    ),
  );
  return { ...whole, entries };
}

/**
 * What the agent makes of a store: its layers, the records of all layers and images, and the tags, those apart that
 * come and go.
 */
export function agentsPartOf(store: string, isPassing: (reference: string) => boolean): Tree {
  const tree = readTree(store, 'digest');
  const isLinked = (cacheId: string): boolean => tree.get(`overlay2/${cacheId}/diff`)?.startsWith('link ') === true;
  const part = new Map(
    [...tree].filter(([file, entry]) => {
      if (/^image\/overlay2\/(imagedb\/content|layerdb\/sha256|distribution)\//.test(file)) return true;
      const cacheId =
        (file.startsWith('overlay2/l/')
          ? /^link \.\.\/([^/]+)\/diff$/.exec(entry)?.[1]
          : /^overlay2\/([^/]+)/.exec(file)?.[1]) ?? '';
      // dockerd mounts a layer on `merged` when it reads it.
      return isLinked(cacheId) && !/^overlay2\/[^/]+\/(merged|work\/)/.test(file);
    }),
  );
  const { Repositories } = JSON.parse(readFileSync(path.join(store, 'image/overlay2/repositories.json'), 'utf8')) as {
    Repositories: Record<string, Record<string, string>>;
  };
  for (const [reference, image] of Object.values(Repositories).flatMap((entries) => Object.entries(entries))) {
    if (!isPassing(reference)) part.set(`reference ${reference}`, image);
  }
  return part;
}

/**
 * How a power cut has left the agent's work: how far its ledger says it was, and how many of its files came to be
 * empty.
 */
export function remains(store: string): string {
  const { state, ledger } = readLedger(store);
  const ledgerState =
    state !== 'read'
      ? `ledger ${state}`
      : ledger.next !== undefined
        ? 'changes under way'
        : ledger.synced
          ? 'changes synced'
          : 'changes done, not synced';
  const empty = [...agentsPartOf(store, () => true)].filter(
    ([file, entry]) => !/\/diff\/|\/committed$/.test(file) && /^file \d+ $/.test(entry),
  ).length;
  return `${ledgerState}, ${empty} empty files`;
}
